"""Putting a pipeline's networks where a `Placement` says, with the hooks of diffusers and accelerate."""

from __future__ import annotations

import os
from collections import Counter

import torch
from accelerate.hooks import CpuOffload, add_hook_to_module
from diffusers import DiffusionPipeline, ModelMixin
from torch import nn
from torch.torch_version import TorchVersion

from openreels.hardware import Placement

__all__ = ["apply_placement", "pin_exactly", "placement_by_size", "transformers_of"]

STORAGE = torch.float8_e4m3fn
CONFIGURED = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}


def apply_placement(pipeline: DiffusionPipeline, placement: Placement, device: str | torch.device) -> None:
    """Place a pipeline's components, once, before its first call; it cannot be undone.

    pipeline: loaded on the CPU. device: where it computes: "cpu" (where offload and groups work, to no use), "cuda" or
    "cuda:1", "mps". Changes the pipeline in place. Raises ValueError where the device cannot do what is asked.
    """
    device = torch.device(device)
    check(placement, device)
    transformers = transformers_of(pipeline)
    if placement.tiling:
        for codec in filter(is_codec, pipeline.components.values()):
            if hasattr(codec, "enable_tiling"):
                codec.enable_tiling()
    if placement.weights == "fp8":
        for transformer in transformers:
            transformer.enable_layerwise_casting(storage_dtype=STORAGE, compute_dtype=main_dtype(transformer))
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
        for component in pipeline.components.values():
            if is_codec(component):
                component.to(device)
            elif isinstance(component, nn.Module) and component not in transformers:
                add_hook_to_module(component, WhileWorking(execution_device=device))


def pin_exactly() -> None:
    """Lets pinned memory take no more RAM than it holds; to be called before CUDA is first used.

    torch rounds it up to powers of two, to reuse it: prefetched blocks, whose matrices have 52 and 142 MB, would take
    half as much again. Whoever has settings of their own keeps them; torch before 2.13 was not seen to know this one.
    """
    if not CONFIGURED & os.environ.keys() and TorchVersion(torch.__version__) >= (2, 13):
        os.environ["PYTORCH_ALLOC_CONF"] = "pinned_max_round_threshold_mb:1"


def placement_by_size(pipeline: DiffusionPipeline, memory: float) -> Placement:
    """Where components of these sizes go on a device of `memory` bytes, a third of which is left to what they compute.

    `openreels plan` says more exactly what a request needs; this knows the weights alone.
    """
    sizes = [bytes_of(part) for part in pipeline.components.values() if isinstance(part, nn.Module)]
    room = memory * 2 / 3
    if sum(sizes) <= room:
        return Placement()
    return Placement("offload" if max(sizes) <= room else "group", tiling=True)


def bytes_of(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())


def check(placement: Placement, device: torch.device) -> None:
    """Raises ValueError where the device cannot do what is asked."""
    if placement.prefetch and device.type != "cuda":
        raise ValueError(f"prefetch needs a CUDA device, not {device.type}: its copies run in a stream of their own")
    if placement.weights == "fp8" and device.type == "mps":
        raise ValueError("fp8 weights need a CUDA device or the CPU, not mps: it has no 8-bit floating point")


def transformers_of(pipeline: DiffusionPipeline) -> list[ModelMixin]:
    """Its large networks: models of diffusers' kind that say what their blocks are."""
    parts = pipeline.components.values()
    return [part for part in parts if isinstance(part, ModelMixin) and getattr(part, "_repeated_blocks", None)]


def is_codec(component: object) -> bool:
    """Autoencoders are called by their parts, `encode` and `decode`, which hooks on the whole never see."""
    return isinstance(component, nn.Module) and hasattr(component, "decode")


def main_dtype(model: nn.Module) -> torch.dtype:
    """That of most weights, which the model computes in; its `dtype` may name one of a few float32 parts."""
    sizes = Counter()
    for parameter in model.parameters():
        sizes[parameter.dtype] += parameter.numel()
    return sizes.most_common(1)[0][0]


class WhileWorking(CpuOffload):
    """A component is on the device during its forward pass and in RAM otherwise."""

    def post_forward(self, module: nn.Module, output):
        module.to("cpu")
        return output
