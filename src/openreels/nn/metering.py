"""What a computation costs, counted by running it on the meta device: exact, without memory and without arithmetic.

The real model runs, with real shapes, on tensors that have no data; so these numbers cannot drift from the code. They
count what PyTorch allocates: scratch inside kernels (cuBLAS, fused attention) and fragmentation come on top. Attention
is counted as a fused kernel does it: no matrix of scores, one float32 per query and head kept for the way back.

Legend: B batch, N query tokens, K key tokens, H heads, d head width.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from openreels.nn.attention import attending_by

__all__ = ["flops_by_part", "flops_of", "parameters_of", "peak_of"]


def flops_of(compute: Callable[[], object]) -> int:
    """Of all matrix products of a call on meta tensors, a multiply-add as two."""
    return flops_by_part(compute, ())[0]


def flops_by_part(compute: Callable[[], object], parts: Sequence[nn.Module]) -> tuple[int, list[int]]:
    """As `flops_of`; and of these, those within each of the modules `parts`."""
    attention, within = FusedAttention(), [0] * len(parts)
    # Masks, positions and tables are made on the meta device as well.
    with ExitStack() as stack:
        stack.enter_context(torch.device("meta"))
        stack.enter_context(attending_by(attention))
        products = stack.enter_context(FlopCounterMode(display=False))

        def so_far() -> int:
            return products.get_total_flops() + attention.flops

        for index, part in enumerate(parts):

            def add(*_: object, index: int = index, sign: int = 1) -> None:
                within[index] += sign * so_far()

            stack.callback(part.register_forward_pre_hook(partial(add, sign=-1)).remove)
            stack.callback(part.register_forward_hook(add).remove)
        compute()
        return so_far(), within


def peak_of(compute: Callable[[], object]) -> int:
    """Most bytes alive at once of tensors that a call on meta tensors makes; weights and inputs were there before."""
    with torch.device("meta"), attending_by(FusedAttention()), PeakMemory() as memory:
        compute()
    return memory.peak


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensors born inside that are alive at the same time. peak, alive: bytes."""

    def __init__(self):
        super().__init__()
        self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {id(tensor.untyped_storage()) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in given | self.known:
                self._born(tensor.untyped_storage())
        return result

    def _born(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self.known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


class FusedAttention:
    """Stands in for attention: allocates what a fused kernel does, and counts. flops: so far, forward and backward."""

    def __init__(self):
        self.flops = 0

    def __call__(self, q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, bias: Tensor | None = None) -> Tensor:
        return Fused.apply(q_BNHd, k_BKHd, v_BKHd, self)


class Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, counter: FusedAttention) -> Tensor:
        out_BNHd = torch.empty_like(q_BNHd, memory_format=torch.contiguous_format)
        log_sums_BHN = q_BNHd.new_empty(q_BNHd.shape[0], q_BNHd.shape[2], q_BNHd.shape[1], dtype=torch.float32)
        ctx.save_for_backward(q_BNHd, k_BKHd, v_BKHd, out_BNHd, log_sums_BHN)
        ctx.counter = counter
        ctx.product = 2 * q_BNHd.numel() * k_BKHd.shape[1]
        counter.flops += 2 * ctx.product
        return out_BNHd

    @staticmethod
    def backward(ctx, grad_BNHd: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        # Gradients of values, weights, queries and keys; the scores, computed again inside, are no useful work.
        ctx.counter.flops += 4 * ctx.product
        q_BNHd, k_BKHd, v_BKHd, *_ = ctx.saved_tensors
        return torch.empty_like(q_BNHd), torch.empty_like(k_BKHd), torch.empty_like(v_BKHd), None
