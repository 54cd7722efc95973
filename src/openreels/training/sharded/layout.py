"""How the processes of a training divide its work: data ranks take different clips, context ranks share one clip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

__all__ = ["Layout", "data_ranks", "distributed", "first_says", "started_by_torchrun"]


@dataclass(frozen=True)
class Layout:
    """A (data x context) grid over all processes.

    grid: the 2-D mesh, context ranks next to one another (their messages are the most). shards: all processes in one
    row, over which weights, gradients and optimizer state are divided.
    """

    grid: DeviceMesh
    shards: DeviceMesh

    @classmethod
    def of(cls, device: str, context: int = 1) -> Layout:
        """Over the default process group. Raises ValueError where `context` does not divide its size."""
        world = dist.get_world_size()
        grid = init_device_mesh(device, (data_ranks(world, context), context), mesh_dim_names=("data", "context"))
        return cls(grid, init_device_mesh(device, (world,), mesh_dim_names=("shards",)))

    @property
    def data_ranks(self) -> int:
        return self.grid.size(0)

    @property
    def data_rank(self) -> int:
        return self.grid.get_local_rank("data")

    @property
    def context_ranks(self) -> int:
        return self.grid.size(1)

    @property
    def is_first(self) -> bool:
        return dist.get_rank() == 0

    @property
    def data_group(self) -> dist.ProcessGroup:
        return self.grid.get_group("data")

    @property
    def context_group(self) -> dist.ProcessGroup:
        return self.grid.get_group("context")


def data_ranks(processes: int, context: int) -> int:
    """Groups that take different clips, of `context` processes each. Raises ValueError where they do not come out."""
    if context < 1 or processes % context:
        raise ValueError(f"context parallelism needs a number that divides {processes} processes, not {context}")
    return processes // context


def first_says(value: Any) -> Any:
    """The first process's value, in every process; what can be pickled."""
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun (or a scheduler like it) has started."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


@contextmanager
def distributed(
    device: str, *, rank: int | None = None, processes: int | None = None, store: str | None = None
) -> Iterator[None]:
    """A process group for as long as the block runs: NCCL between GPUs, gloo between CPUs and for checkpoints.

    Without `rank`, `processes` and `store` (such as "file:///tmp/meet") it is the one torchrun describes.
    """
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank or 0)))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    where = {} if store is None else {"init_method": store, "rank": rank, "world_size": processes}
    dist.init_process_group(backend, timeout=timedelta(minutes=30), **where)
    try:
        yield
    finally:
        dist.destroy_process_group()
