"""One layer of a tower: dual-stream (own weights for text) or single-stream (shared weights).

Both are written once and built for each modality; a layer of the model pairs two of them (`models/v4.py`).
Source: SkyReels-V4, model section; the layouts of the two kinds follow HunyuanVideo, the warm start.
Legend: B batch, N modality tokens (references first), L text tokens, D width, H heads, d head width, G time groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from openreels.nn.attention import CrossAttention, QueryKeyNorm, attention
from openreels.nn.modulation import AdaptiveNorm, per_token
from openreels.nn.rope import RotaryTable, apply_rotary

__all__ = ["DualStreamBlock", "SingleStreamBlock", "StreamInputs"]


@dataclass(frozen=True)
class StreamInputs:
    """What stays the same through all layers of one tower.

    time_BGD: embeddings of the distinct times (references at t = 1, then the generated tokens).
    counts: tokens of each group. rotary: of the modality tokens.
    text_bias: (B, 1, 1, L), 0 or very negative; None where all of the text is real.
    """

    time_BGD: Tensor
    counts: tuple[int, ...]
    rotary: RotaryTable
    text_bias: Tensor | None

    @property
    def joint_bias(self) -> Tensor | None:
        """Bias over the keys of joint attention: modality tokens are all visible, then the text's own mask."""
        if self.text_bias is None:
            return None
        return nn.functional.pad(self.text_bias, (sum(self.counts), 0))


def mlp(dim: int, ratio: float) -> nn.Sequential:
    hidden = round(dim * ratio)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, dim))


def modulate(x_BND: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x_BND * (1 + scale) + shift


class StreamWeights(nn.Module):
    """Everything one stream owns in a dual-stream block: modulation, QKV, output projection, MLP."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, modulation_rank: int | None):
        super().__init__()
        self.num_heads = num_heads
        self.modulation = AdaptiveNorm(dim, 6, modulation_rank)
        self.norm_attention = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.norm_qk = QueryKeyNorm(dim // num_heads)
        self.to_out = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.mlp = mlp(dim, mlp_ratio)

    def qkv(self, x_BND: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.to_qkv(modulate(self.norm_attention(x_BND), shift, scale))
        q, k, v = rearrange(qkv, "b n (three h d) -> three b n h d", three=3, h=self.num_heads)
        return *self.norm_qk(q, k), v


class DualStreamBlock(nn.Module):
    """Separate weights for modality and text tokens, one joint self-attention over both."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, modulation_rank: int | None, text_cross_attention: bool
    ):
        super().__init__()
        self.stream = StreamWeights(dim, num_heads, mlp_ratio, modulation_rank)
        self.text = StreamWeights(dim, num_heads, mlp_ratio, modulation_rank)
        self.text_cross = CrossAttention(dim, num_heads) if text_cross_attention else None

    def attend(self, hidden_states: Tensor, encoder_hidden_states: Tensor, inputs: StreamInputs) -> tuple:
        """Self-attention over [modality, text], then text cross-attention; also returns what `feed_forward` needs."""
        x_BND, text_BLD = hidden_states, encoder_hidden_states
        generated_B1D = inputs.time_BGD[:, -1:]  # text goes with the tokens being generated
        mods = [per_token(m, inputs.counts) for m in self.stream.modulation(inputs.time_BGD)]
        text_mods = self.text.modulation(generated_B1D)

        q, k, v = self.stream.qkv(x_BND, *mods[:2])
        q, k = apply_rotary(q, inputs.rotary), apply_rotary(k, inputs.rotary)
        text_q, text_k, text_v = self.text.qkv(text_BLD, *text_mods[:2])
        q, k, v = torch.cat([q, text_q], 1), torch.cat([k, text_k], 1), torch.cat([v, text_v], 1)
        joint_BND = attention(q, k, v, inputs.joint_bias).flatten(-2)

        out_BND, out_BLD = joint_BND.split([x_BND.shape[1], text_BLD.shape[1]], dim=1)
        x_BND = x_BND + mods[2] * self.stream.to_out(out_BND)
        text_BLD = text_BLD + text_mods[2] * self.text.to_out(out_BLD)
        if self.text_cross is not None:
            x_BND = x_BND + self.text_cross(x_BND, text_BLD, bias=inputs.text_bias)
        return x_BND, text_BLD, (mods[3:], text_mods[3:])

    def feed_forward(self, x_BND: Tensor, text_BLD: Tensor, pending: tuple) -> tuple[Tensor, Tensor]:
        """The gated MLPs of both streams."""
        (shift, scale, gate), (text_shift, text_scale, text_gate) = pending
        x_BND = x_BND + gate * self.stream.mlp(modulate(self.stream.norm_mlp(x_BND), shift, scale))
        text = self.text
        text_BLD = text_BLD + text_gate * text.mlp(modulate(text.norm_mlp(text_BLD), text_shift, text_scale))
        return x_BND, text_BLD


class SingleStreamBlock(nn.Module):
    """Shared weights over the concatenated tokens; attention and MLP in parallel behind one gate.

    The text cross-attention (and, in the model, the audio-video pair) follows the fused residual.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, modulation_rank: int | None, text_cross_attention: bool
    ):
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        hidden = round(dim * mlp_ratio)
        self.modulation = AdaptiveNorm(dim, 3, modulation_rank)
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.to_qkv_mlp = nn.Linear(dim, 3 * dim + hidden)
        self.norm_qk = QueryKeyNorm(dim // num_heads)
        self.to_out = nn.Linear(dim + hidden, dim)
        self.text_cross = CrossAttention(dim, num_heads) if text_cross_attention else None

    def attend(self, hidden_states: Tensor, encoder_hidden_states: Tensor, inputs: StreamInputs) -> tuple:
        tokens, text_tokens = hidden_states.shape[1], encoder_hidden_states.shape[1]
        joint_BND = torch.cat([hidden_states, encoder_hidden_states], dim=1)
        # The text's time is that of the generated tokens: the last group simply grows by the text.
        counts = (*inputs.counts[:-1], inputs.counts[-1] + text_tokens)
        shift, scale, gate = (per_token(m, counts) for m in self.modulation(inputs.time_BGD))

        qkv, hidden = self.to_qkv_mlp(modulate(self.norm(joint_BND), shift, scale)).split(
            [3 * self.dim, self.to_out.in_features - self.dim], dim=-1
        )
        q, k, v = rearrange(qkv, "b n (three h d) -> three b n h d", three=3, h=self.num_heads)
        q, k = self.norm_qk(q, k)
        q, k = (torch.cat([apply_rotary(x[:, :tokens], inputs.rotary), x[:, tokens:]], dim=1) for x in (q, k))
        attended_BND = attention(q, k, v, inputs.joint_bias).flatten(-2)
        fused = torch.cat([attended_BND, nn.functional.gelu(hidden, approximate="tanh")], dim=-1)
        joint_BND = joint_BND + gate * self.to_out(fused)

        x_BND, text_BLD = joint_BND.split([tokens, text_tokens], dim=1)
        if self.text_cross is not None:
            x_BND = x_BND + self.text_cross(x_BND, text_BLD, bias=inputs.text_bias)
        return x_BND, text_BLD, None

    def feed_forward(self, x_BND: Tensor, text_BLD: Tensor, pending: None) -> tuple[Tensor, Tensor]:
        """Nothing left to do: the MLP ran beside the attention."""
        return x_BND, text_BLD
