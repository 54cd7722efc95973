"""Attention: one dispatch for the whole package, and the cross-attention layer.

Legend: B batch, N query tokens, K key tokens, H heads, d head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from openreels.nn.linear import ZeroLinear
from openreels.nn.rope import RotaryTable, apply_rotary

__all__ = [
    "CrossAttention",
    "QueryKeyNorm",
    "TimeDistanceBias",
    "attending_by",
    "attention",
    "key_mask_bias",
    "local_attention",
    "reference_attention",
    "written_out",
]

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
# Tokens up to which plain matrix products beat SDPA on a CPU where gradients are wanted: its backward is slow there
# (1.35x at 100 tokens); its forward alone is two to three times as fast as the products (docs/log.md).
SMALL = 512


def reference_attention(q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k / sqrt(d) + bias) v, written out. bias: broadcastable to (B, H, N, K)."""
    batch, heads = q_BNHd.shape[0], q_BNHd.shape[2]
    q, k, v = (rearrange(x, "b n h d -> (b h) n d") for x in (q_BNHd, k_BKHd, v_BKHd))
    score_MNK = torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2))
    if bias is not None:
        score_MNK = (score_MNK.unflatten(0, (batch, heads)) + bias.to(score_MNK.dtype)).flatten(0, 1)
    return rearrange(torch.bmm(score_MNK.softmax(-1).to(v.dtype), v), "(b h) n d -> b n h d", b=batch)


def attention(q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of everything in this package: `local_attention`, or what `attending_by` put in its place."""
    return _ATTEND.get()(q_BNHd, k_BKHd, v_BKHd, bias)


def local_attention(q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention by the fastest exact way for this device and size; parity with the reference is a test."""
    small = max(q_BNHd.shape[1], k_BKHd.shape[1]) <= SMALL
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (q_BNHd, k_BKHd, v_BKHd))
    if q_BNHd.device.type == "cpu" and small and learns:
        return reference_attention(q_BNHd, k_BKHd, v_BKHd, bias)
    if bias is not None:
        bias = bias.to(q_BNHd.dtype)
    return dispatch_attention_fn(q_BNHd, k_BKHd, v_BKHd, attn_mask=bias)


def written_out(device: torch.device) -> AbstractContextManager:
    """Inside, layers that are not ours (`nn.MultiheadAttention`) learn on a CPU by plain matrix products, too."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


_ATTEND: ContextVar[Attend] = ContextVar("attend", default=local_attention)


@contextmanager
def attending_by(attend: Attend) -> Iterator[None]:
    """Inside, `attention` is `attend`, in this thread alone (context parallelism: `models/context_parallel.py`)."""
    before = _ATTEND.set(attend)
    try:
        yield
    finally:
        _ATTEND.reset(before)


def key_mask_bias(mask_BK: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive bias (B, 1, 1, K): 0 where True, a large negative number where False."""
    bias = torch.zeros(mask_BK.shape, dtype=dtype, device=mask_BK.device)
    return bias.masked_fill_(~mask_BK, -1e4)[:, None, None]


class QueryKeyNorm(nn.Module):
    """RMS norm of queries and keys over the head width (steadies attention at high learning rates)."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.query = nn.RMSNorm(head_dim, eps=1e-6)
        self.key = nn.RMSNorm(head_dim, eps=1e-6)

    def forward(self, q_BNHd: Tensor, k_BKHd: Tensor) -> tuple[Tensor, Tensor]:
        return self.query(q_BNHd).to(q_BNHd.dtype), self.key(k_BKHd).to(k_BKHd.dtype)


class TimeDistanceBias(nn.Module):
    """Learnable attention bias on (query time - key time), per head, piecewise linear between knots.

    RoPE alone left cross-attention uniform for hundreds of steps at small size; a bias that starts with heads looking
    near their own time makes sound find its picture (docs/log.md). slope 0 starts at no bias at all (warm starts).
    """

    def __init__(self, num_heads: int, reach: float, knots_per_frame: int, slope: float):
        super().__init__()
        knots = int(2 * reach * knots_per_frame) + 1
        self.reach, self.knots_per_frame, self.slope = reach, knots_per_frame, slope
        self.table_HK = nn.Parameter(torch.empty(num_heads, knots))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        num_heads, knots = self.table_HK.shape
        device = self.table_HK.device
        distance_K = torch.linspace(-self.reach, self.reach, knots, device=device).abs()
        # Head h falls off 2^-h times as fast; the last one starts without a preference.
        falloff_H1 = self.slope * 0.5 ** torch.arange(num_heads, dtype=torch.float32, device=device)[:, None]
        falloff_H1[-1] = 0
        self.table_HK.copy_(-falloff_H1 * distance_K)

    def basis(self, query_time_N: Tensor, key_time_K: Tensor) -> Tensor:
        """Hat functions of the time distance: (N * K, knots), each row summing to 1."""
        delta = (query_time_N[:, None] - key_time_K[None]).clamp(-self.reach, self.reach).reshape(-1, 1)
        knots = torch.linspace(-self.reach, self.reach, self.table_HK.shape[1], device=delta.device)
        return (1 - (delta - knots).abs() * self.knots_per_frame).clamp(min=0)

    def forward(self, basis: Tensor, queries: int) -> Tensor:
        """Bias (1, H, N, K) for the basis of a pair of streams."""
        with torch.autocast(basis.device.type, enabled=False):
            bias_HM = self.table_HK.float() @ basis.float().T
        return bias_HM.unflatten(1, (queries, -1))[None]


class CrossAttention(nn.Module):
    """Pre-normed attention from one set of tokens to another; the output projection starts at zero.

    A zero output makes the layer vanish until trained, so weights of a model without it can be loaded unharmed.
    """

    def __init__(self, dim: int, num_heads: int, bias: TimeDistanceBias | None = None):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.norm_context = nn.LayerNorm(dim, eps=1e-6)
        self.to_q = nn.Linear(dim, dim)
        self.to_kv = nn.Linear(dim, 2 * dim)
        self.norm_qk = QueryKeyNorm(dim // num_heads)
        self.to_out = ZeroLinear(dim, dim)
        self.time_bias = bias

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        rotary: tuple[RotaryTable, RotaryTable] | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """hidden_states (B, N, D) ask, encoder_hidden_states (B, K, D) answer; rotary: of queries, of keys."""
        q = rearrange(self.to_q(self.norm(hidden_states)), "b n (h d) -> b n h d", h=self.num_heads)
        kv = self.to_kv(self.norm_context(encoder_hidden_states))
        k, v = rearrange(kv, "b k (two h d) -> two b k h d", two=2, h=self.num_heads)
        q, k = self.norm_qk(q, k)
        if rotary is not None:
            q, k = apply_rotary(q, rotary[0]), apply_rotary(k, rotary[1])
        return self.to_out(attention(q, k, v, bias).flatten(-2))
