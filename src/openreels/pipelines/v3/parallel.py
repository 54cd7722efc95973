"""Context parallelism of the V3 transformer, through diffusers' hooks."""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, ParallelConfig
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from openreels.models.wan import SkyReelsV3Transformer

__all__ = ["enable_context_parallel"]


def enable_context_parallel(transformer: SkyReelsV3Transformer) -> None:
    """Share every forward pass among all processes of the default group; each must call it with the same inputs.

    Each process holds a part of the tokens of every frame, and of the heads while it attends. Tokens need not divide:
    diffusers' "Ulysses anything" splits unevenly, and only the last gathering is padded. Works with NCCL and gloo;
    not for two and more speakers. Raises ValueError, RuntimeError.
    """
    if not dist.is_initialized() or dist.get_world_size() < 2:
        raise ValueError("context parallelism needs a process group of two or more processes (torchrun starts them)")
    config = ContextParallelConfig(ulysses_degree=dist.get_world_size(), ulysses_anything=True)
    if not torch.accelerator.is_available():
        # diffusers 0.42.1 takes the rank modulo the number of accelerators where it makes the mesh, and a machine with
        # the CPU alone has none: its one step that asks for a device is done here, all others are its own.
        transformer._resolve_parallel_config = partial(resolve_on_cpu, transformer)
    # diffusers gathers parts of different sizes as they are, which gloo refuses: this one hook is ours.
    plan = {name: part for name, part in transformer._cp_plan.items() if name != "proj_out"}
    transformer.enable_parallelism(config=config, cp_plan=plan)
    transformer.proj_out.register_forward_hook(gather_tokens)


def gather_tokens(module: nn.Module, args: tuple, part_BFSP: Tensor) -> Tensor:
    """All processes' tokens, one process after the other; each sends as many as the one with most, then they are cut.

    B batch, F latent frames, S tokens of a frame, P channels of a patch.
    """
    count = torch.tensor([part_BFSP.shape[2]], device=part_BFSP.device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    counts = [int(each) for each in counts]
    padded_BFSP = nn.functional.pad(part_BFSP, (0, 0, 0, max(counts) - part_BFSP.shape[2])).contiguous()
    parts = [torch.empty_like(padded_BFSP) for _ in counts]
    dist.all_gather(parts, padded_BFSP)
    return torch.cat([each[:, :, :size] for each, size in zip(parts, counts, strict=True)], dim=2)


def resolve_on_cpu(transformer: SkyReelsV3Transformer, config: ContextParallelConfig) -> ParallelConfig:
    mesh = init_device_mesh("cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
    resolved = ParallelConfig(context_parallel_config=config)
    resolved.setup(dist.get_rank(), dist.get_world_size(), torch.device("cpu"), mesh=mesh)
    transformer._parallel_config = resolved
    return resolved
