"""Context parallelism: several processes share the tokens of one forward pass of the V4 transformer.

Each process gets every stream's references and tokens dealt out in equal parts (padded where they do not divide) as a
`StreamState` of its own, so embeddings, norms, MLPs and output run on a part without knowing of it. Text is short and
stays whole in every process. Attention alone looks across: self-attention with the text, and both audio-video
cross-attentions. It does so in one of two ways, whichever sends less:

    gather    all keys and values come to every process; any number of heads, any bias
    ulysses   queries, keys and values of all tokens, for a part of the heads (arXiv 2309.14509); heads must divide

The velocities come back whole to every process. Where each of them computes the same loss from these, the mean over the
processes of a parameter's gradient is the gradient one process would get: what a sharded or replicated trainer
averages anyway.

Legend: B batch, N query tokens, K keys, n tokens of one process, L text tokens, H heads, d head width, P processes,
C channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openreels.models.v4 import SkyReelsV4Transformer, TwinLayer
from openreels.nn.attention import attending_by, key_mask_bias, local_attention
from openreels.types import StreamState

__all__ = ["ContextParallel", "deal"]

Method = Literal["auto", "gather", "ulysses"]
OTHER = {"video": "audio", "audio": "video"}


class AllGather(torch.autograd.Function):
    """(...) of each process -> (P, ...) on all; backwards, the gradients of all copies are summed where they belong."""

    @staticmethod
    def forward(ctx, part: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        whole = part.new_empty(group.size(), *part.shape)
        dist.all_gather(list(whole.unbind()), part.contiguous(), group=group)
        return whole

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        parts = torch.empty_like(grad, memory_format=torch.contiguous_format)
        dist.all_to_all_single(parts, grad.contiguous(), group=ctx.group)
        # Summed in one order and in float32, whatever is trained in: the same bits in every run.
        return parts.sum(0, dtype=torch.float32).to(grad.dtype), None


class AllToAll(torch.autograd.Function):
    """(P, ...): part p goes to process p, and comes from it."""

    @staticmethod
    def forward(ctx, parts: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        received = torch.empty_like(parts, memory_format=torch.contiguous_format)
        dist.all_to_all_single(received, parts.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return AllToAll.apply(grad, ctx.group), None


def deal(x: Tensor, dim: int, rank: int, ranks: int) -> Tensor:
    """The part of process `rank`: equal lengths along `dim`, zeros behind the last element."""
    size = -(-x.shape[dim] // ranks)
    missing = size * ranks - x.shape[dim]
    if missing:
        x = torch.cat([x, x.new_zeros(*x.shape[:dim], missing, *x.shape[dim + 1 :])], dim)
    return x.narrow(dim, rank * size, size)


@dataclass(frozen=True)
class Dealt:
    """One stream of the pass under way.

    tokens: generated ones of the whole stream. local: references and tokens of this process, padding included.
    time_n, time_K: frame positions of this process's tokens, and of all processes' one after the other.
    key_bias: (1, 1, 1, K), very negative at padding; None where there is none.
    """

    tokens: int
    local: int
    time_n: Tensor
    time_K: Tensor
    key_bias: Tensor | None


class ContextParallel:
    """Shares every forward pass of `model` among the processes of `group` until `remove()`.

    All processes must call the model alike, with the same inputs. A backward pass must follow its own forward pass
    before the next one starts (activation checkpointing computes again with what that pass dealt out).
    Raises ValueError where `method` is "ulysses" and the heads do not divide.
    """

    def __init__(self, model: SkyReelsV4Transformer, group: dist.ProcessGroup, method: Method = "auto"):
        heads = model.config.num_heads
        if method == "ulysses" and heads % group.size():
            raise ValueError(f"method ulysses needs heads that divide by {group.size()} processes, not {heads}")
        self.group, self.method = group, method
        self.rank, self.ranks = group.rank(), group.size()
        self.dealt: dict[str, Dealt] = {}
        self.bases: dict[str, Tensor] = {}
        self.signature = inspect.signature(model.forward)
        self.wrapped: list[tuple[nn.Module, str]] = []
        self.hooks = [
            model.register_forward_pre_hook(self._deal_out, with_kwargs=True),
            model.register_forward_hook(self._collect),
        ]
        for layer in model.layers:
            self._connect(layer)

    def remove(self) -> None:
        """The model is as it was before."""
        for hook in self.hooks:
            hook.remove()
        for module, name in self.wrapped:
            delattr(module, name)

    def _connect(self, layer: TwinLayer) -> None:
        for stream in OTHER:
            block = getattr(layer, stream)
            self._replace_attention(block, "attend", partial(self.joint_attention, stream))
            if block.text_cross is not None:
                # Within `attend`, yet its keys are the text, whole in every process.
                self._replace_attention(block.text_cross, "forward", local_attention)
            cross = getattr(layer, f"{stream}_from_{OTHER[stream]}")
            self._replace_attention(cross, "forward", partial(self.cross_attention, OTHER[stream]))
            if cross.time_bias is not None:
                self.hooks.append(cross.time_bias.register_forward_pre_hook(partial(self._whole_basis, stream)))

    def _replace_attention(self, module: nn.Module, name: str, attend: Callable[..., Tensor]) -> None:
        method = getattr(module, name)

        @wraps(method)
        def run(*args, **kwargs):
            with attending_by(attend):
                return method(*args, **kwargs)

        setattr(module, name, run)
        self.wrapped.append((module, name))

    def _deal_out(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        call = self.signature.bind(*args, **kwargs)
        self.dealt, self.bases = {}, {}
        # A sketch sees frames and references at a token's place: made before these are dealt out.
        streams = call.arguments["video"], call.arguments["audio"]
        call.arguments |= zip(OTHER, model.sketched(*streams, call.arguments["context"]), strict=True)
        for stream in OTHER:
            if (state := call.arguments[stream]) is not None:
                call.arguments[stream], self.dealt[stream] = self._deal_state(state)
        return call.args, call.kwargs

    def _deal_state(self, state: StreamState) -> tuple[StreamState, Dealt]:
        def part(name: str, dim: int) -> Tensor:
            return deal(getattr(state, name), dim, self.rank, self.ranks)

        mine = replace(
            state,
            noisy_BNC=part("noisy_BNC", 1),
            given_BNC=part("given_BNC", 1),
            mask_BN1=part("mask_BN1", 1),
            positions_NP=part("positions_NP", 0),
            reference_BRC=part("reference_BRC", 1),
            reference_positions_RP=part("reference_positions_RP", 0),
            layout_BNK=None if state.layout_BNK is None else part("layout_BNK", 1),
            sketch_BNK=None if state.sketch_BNK is None else part("sketch_BNK", 1),
        )

        def everyone(references_R: Tensor, tokens_N: Tensor) -> Tensor:
            """In the order in which a gathering finds them: process by process, references first."""
            each = [deal(x, 0, r, self.ranks) for r in range(self.ranks) for x in (references_R, tokens_N)]
            return torch.cat(each)

        times = state.reference_positions_RP[:, 0], state.positions_NP[:, 0]
        real_K = everyone(*(torch.ones_like(time, dtype=torch.bool) for time in times))
        dealt = Dealt(
            tokens=state.tokens,
            local=mine.references + mine.tokens,
            time_n=torch.cat([mine.reference_positions_RP[:, 0], mine.positions_NP[:, 0]]),
            time_K=everyone(*times),
            key_bias=None if real_K.all() else key_mask_bias(real_K[None], torch.float32),
        )
        return mine, dealt

    def _whole_basis(self, stream: str, module: nn.Module, args: tuple[Tensor, int]) -> tuple[Tensor, int]:
        """Distances of this process's queries to the keys of all, where the model knows of its own keys alone."""
        if stream not in self.bases:
            self.bases[stream] = module.basis(self.dealt[stream].time_n, self.dealt[OTHER[stream]].time_K)
        return self.bases[stream], args[1]

    def _collect(self, model: nn.Module, args: tuple, velocities: tuple[Tensor | None, Tensor | None]) -> tuple:
        return tuple(
            None if part is None else self._all_tokens(part)[:, : self.dealt[stream].tokens]
            for stream, part in zip(OTHER, velocities, strict=True)
        )

    def joint_attention(self, stream: str, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Self-attention of (B, n + L, H, d): the stream's dealt tokens, then text that every process has."""
        local, text = self.dealt[stream].local, q.shape[1] - self.dealt[stream].local
        text_bias = None if bias is None else bias[..., local:]
        bias = self._key_bias(stream, text, text_bias)
        tokens, texts = zip(*(x.split([local, text], 1) for x in (q, k, v)), strict=True)
        if not self._by_heads(local, local, q.shape[2]):
            k, v = (torch.cat(pair, 1) for pair in zip(self._gathered(*tokens[1:]), texts[1:], strict=True))
            return local_attention(q, k, v, bias)
        own = [x.chunk(self.ranks, 2)[self.rank] for x in texts]
        q, k, v = (torch.cat(pair, 1) for pair in zip(self._to_heads(*tokens), own, strict=True))
        out, text_out = local_attention(q, k, v, bias).split([local * self.ranks, text], 1)
        whole_text = AllGather.apply(text_out, self.group).movedim(0, 2).flatten(2, 3)
        return torch.cat([self._to_tokens(out), whole_text], 1)

    def cross_attention(self, keys: str, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Dealt queries (B, n, H, d) ask the dealt tokens of stream `keys`; a bias is over all of its keys."""
        padding = self._key_bias(keys, 0, None)
        if bias is None and self._by_heads(q.shape[1], k.shape[1], q.shape[2]):
            q, k, v = *self._to_heads(q), *self._to_heads(k, v)
            return self._to_tokens(local_attention(q, k, v, padding))
        if bias is not None and padding is not None:
            bias = bias + padding.to(bias.dtype)
        return local_attention(q, *self._gathered(k, v), padding if bias is None else bias)

    def _key_bias(self, stream: str, text: int, text_bias: Tensor | None) -> Tensor | None:
        """Bias over all keys of a stream, then its text."""
        dealt = self.dealt[stream]
        if text_bias is None:
            return None if dealt.key_bias is None else nn.functional.pad(dealt.key_bias, (0, text))
        bias = nn.functional.pad(text_bias, (dealt.local * self.ranks, 0))
        return bias if dealt.key_bias is None else bias + nn.functional.pad(dealt.key_bias, (0, text)).to(bias.dtype)

    def _by_heads(self, queries: int, keys: int, heads: int) -> bool:
        """Whether to divide heads: gathering sends 2 K values, ulysses (2 N + 2 K) / P."""
        if self.method == "auto":
            return heads % self.ranks == 0 and self.ranks * keys > queries + keys
        return self.method == "ulysses"

    def _all_tokens(self, x_BnX: Tensor) -> Tensor:
        return AllGather.apply(x_BnX, self.group).movedim(0, 1).flatten(1, 2)

    def _gathered(self, *parts_BnHd: Tensor) -> tuple[Tensor, ...]:
        """Tokens of all processes, (B, P n, H, d), in one message."""
        whole = AllGather.apply(torch.stack(parts_BnHd), self.group)
        return whole.movedim(0, 2).flatten(2, 3).unbind()

    def _to_heads(self, *parts_BnHd: Tensor) -> tuple[Tensor, ...]:
        """(B, n, H, d) -> (B, P n, H / P, d): all tokens for this process's heads, in one message."""
        parts = torch.stack(parts_BnHd).unflatten(3, (self.ranks, -1)).movedim(3, 0)
        return AllToAll.apply(parts, self.group).movedim(0, 2).flatten(2, 3).unbind()

    def _to_tokens(self, x_BKhd: Tensor) -> Tensor:
        """(B, P n, H / P, d) -> (B, n, H, d), the inverse."""
        parts = x_BKhd.unflatten(1, (self.ranks, -1)).movedim(1, 0)
        return AllToAll.apply(parts, self.group).movedim(0, 2).flatten(2, 3)
