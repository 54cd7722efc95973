"""Putting a V3 pipeline's networks where a `Placement` says, with the hooks of diffusers and accelerate."""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from accelerate.hooks import CpuOffload, add_hook_to_module
from diffusers import ContextParallelConfig, DiffusionPipeline, ParallelConfig
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.planning import Placement

__all__ = ["apply_placement", "enable_context_parallel"]

STORAGE = torch.float8_e4m3fn


def apply_placement(pipeline: DiffusionPipeline, placement: Placement, device: str | torch.device) -> None:
    """Place a pipeline's components, once, before its first call; `placement.py` cannot undo it.

    pipeline: loaded on the CPU, with a `transformer` (and `shot_transformer`) and a `vae`. device: where it computes:
    "cpu" (where offload and groups work, to no use), "cuda" or "cuda:1", "mps". Changes the pipeline in place.
    Raises ValueError where the device cannot do what is asked.
    """
    device = torch.device(device)
    check(placement, device)
    transformers = transformers_of(pipeline)
    if placement.tiling:
        pipeline.vae.enable_tiling()
    if placement.weights == "fp8":
        for transformer in transformers:
            # The dtype that the model itself computes in; `transformer.dtype` may name one of its float32 parts.
            compute = transformer.patch_embedding.weight.dtype
            transformer.enable_layerwise_casting(storage_dtype=STORAGE, compute_dtype=compute)
    if placement.where == "resident":
        pipeline.to(device)
    elif placement.where == "offload":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        for transformer in transformers:
            transformer.enable_group_offload(
                onload_device=device,
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=placement.prefetch,
            )
        for name, component in pipeline.components.items():
            if name == "vae":
                component.to(device)
            elif isinstance(component, nn.Module) and component not in transformers:
                add_hook_to_module(component, WhileWorking(execution_device=device))


def check(placement: Placement, device: torch.device) -> None:
    """Raises ValueError where the device cannot do what is asked."""
    if placement.prefetch and device.type != "cuda":
        raise ValueError(f"prefetch needs a CUDA device, not {device.type}: its copies run in a stream of their own")
    if placement.weights == "fp8" and device.type == "mps":
        raise ValueError("fp8 weights need a CUDA device or the CPU, not mps: it has no 8-bit floating point")


def transformers_of(pipeline: DiffusionPipeline) -> list[SkyReelsV3Transformer]:
    return [part for part in pipeline.components.values() if isinstance(part, SkyReelsV3Transformer)]


class WhileWorking(CpuOffload):
    """A component is on the device during its forward pass and in RAM otherwise."""

    def post_forward(self, module: nn.Module, output):
        module.to("cpu")
        return output


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
