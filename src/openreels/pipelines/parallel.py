"""The branches of guidance on several processes: each computes a part of the batch that guidance makes.

A sequence too long for one process is shared by `models/context_parallel.py`; `share` combines the two.
Legend: B batch, N tokens, C channels, P processes.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from openreels.flow.guidance import Model, Velocities
from openreels.models.context_parallel import ContextParallel
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.types import Context, StreamState

__all__ = ["BatchParallel", "share"]


class BatchParallel:
    """A model whose batch is shared among the processes of `group`: a drop-in for `flow.sampling.sample`.

    Every process calls it with the same inputs and gets all velocities. Two or three branches of guidance (prompt,
    negative prompt, streams apart) on as many processes take the time of one; batches that do not divide leave some
    idle. Works with NCCL and gloo.
    """

    def __init__(self, model: Model, group: dist.ProcessGroup | None = None):
        self.model, self.group = model, group or dist.group.WORLD

    def __call__(
        self, video: StreamState | None, audio: StreamState | None, context: Context, cross_modal_B: Tensor | None
    ) -> Velocities:
        batch, ranks = context.hidden_BLD.shape[0], self.group.size()
        share = -(-batch // ranks)
        # A process beyond the end of the batch repeats its last sample: all must take part in the gathering.
        first = self.group.rank() * share
        index = torch.arange(first, first + share, device=context.hidden_BLD.device).clamp(max=batch - 1)
        own = self.model(
            None if video is None else video.rows(index),
            None if audio is None else audio.rows(index),
            context.rows(index),
            None if cross_modal_B is None else cross_modal_B[index],
        )
        return tuple(None if part is None else self._gathered(part)[:batch] for part in own)

    def _gathered(self, part_BNC: Tensor) -> Tensor:
        whole_PBNC = part_BNC.new_empty(self.group.size(), *part_BNC.shape)
        dist.all_gather(list(whole_PBNC.unbind()), part_BNC.contiguous(), group=self.group)
        return whole_PBNC.flatten(0, 1)


def share(transformer: SkyReelsV4Transformer, context: int = 1) -> BatchParallel:
    """The transformer on all processes of the default group, which torchrun starts.

    context: consecutive processes that share the tokens of one sample; groups of so many divide the batch.
    Raises ValueError where there are no processes, or where they do not divide into such groups.
    """
    if not dist.is_initialized():
        raise ValueError("sharing a model needs a process group (torchrun starts the processes)")
    ranks = dist.get_world_size()
    if context < 1 or ranks % context:
        raise ValueError(f"context must divide the number of processes, {ranks}, not {context}")
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    mesh = init_device_mesh(device, (ranks // context, context), mesh_dim_names=("branches", "context"))
    if context > 1:
        ContextParallel(transformer, mesh["context"].get_group())
    return BatchParallel(transformer, mesh["branches"].get_group())
