"""What a request to a V4 preset takes on a GPU, by placement of the weights; before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from types import MappingProxyType

from openreels.hardware import (
    CODEC_SHARE,
    MFU,
    PAGEABLE_SHARE,
    PINNED_SHARE,
    PLACEMENTS,
    PROCESS_BYTES,
    Estimate,
    Gpu,
    Placement,
    estimates_of,
)
from openreels.media.aspect import frame_size
from openreels.media.timing import frames_for
from openreels.recipes.costs import BF16, Cost, Costs, Size

__all__ = ["Job", "estimate", "estimates"]

# Parameters of the frozen text encoders, as published with them.
TEXT_ENCODERS: Mapping[str | None, float] = MappingProxyType(
    {
        "Qwen/Qwen2.5-VL-7B-Instruct": 8.29e9,
        "Qwen/Qwen2.5-VL-3B-Instruct": 3.75e9,
        "hunyuanvideo-community/HunyuanVideo": 8.03e9,
        None: 0,  # comes with the model, too small to matter
    }
)


@dataclass(frozen=True)
class Job:
    """A request as work. branches: of guidance, computed as one batch (prompt, negative prompt, streams apart)."""

    costs: Costs
    size: Size
    frames: int
    height: int
    width: int
    steps: int
    branches: int

    @classmethod
    def of(
        cls,
        costs: Costs,
        resolution: str,
        duration: float,
        aspect: str,
        steps: int = 30,
        branches: int = 3,
    ) -> Job:
        """Raises ValueError for sizes that make no sense."""
        if not 0 < duration <= 200:
            raise ValueError(f"duration must be a number of seconds above 0 and up to 200, not {duration:g}")
        if not resolution.removesuffix("p").isdecimal():
            raise ValueError(f"resolution must be pixels of the short side, such as 480p, not {resolution!r}")
        height, width = frame_size(aspect, int(resolution.removesuffix("p")))
        frames = frames_for(duration, costs.preset.fps)
        return cls(costs, costs.size(frames, height, width), frames, height, width, steps, branches)

    @cached_property
    def transformer_flops(self) -> int:
        return self.steps * self.costs.forward_flops(self.size, self.branches)

    @cached_property
    def forward_bytes(self) -> int:
        return self.costs.forward_bytes(self.size, self.branches)

    def decoding(self, tiled: bool) -> Cost:
        return self.costs.decoding(self.size.grid, tiled)


def estimates(job: Job, gpu: Gpu, ram: float = inf) -> list[Estimate]:
    """Of every placement."""
    return estimates_of(lambda placement: estimate(job, placement, gpu), PLACEMENTS, gpu, ram)


def estimate(job: Job, placement: Placement, gpu: Gpu) -> Estimate:
    costs = job.costs
    bytes_each = 1 if placement.weights == "fp8" else BF16
    transformer, layer = bytes_each * costs.total_parameters, bytes_each * costs.layer_parameters
    text = BF16 * TEXT_ENCODERS[costs.preset.text.repository]
    codecs = BF16 * costs.codec_parameters
    everything, decoding = transformer + text + codecs, job.decoding(placement.tiling)
    if placement.where == "resident":
        base = dict.fromkeys(("text", "sampling", "codec"), everything)
        ram = PROCESS_BYTES
    elif placement.where == "offload":
        base = {"text": text, "sampling": transformer + codecs, "codec": codecs}
        ram = PROCESS_BYTES + everything
    else:
        held = layer * (2 if placement.prefetch else 1) + transformer / max(1, sum(costs.layers.values()))
        base = {"text": text + codecs, "sampling": held + codecs, "codec": codecs}
        ram = PROCESS_BYTES + everything
    base["sampling"] += job.forward_bytes
    base["codec"] += decoding.peak
    return Estimate(
        placement,
        base,
        PROCESS_BYTES + BF16 * costs.total_parameters + text + codecs,
        ram,
        _seconds(job, placement, gpu, transformer, text, decoding),
    )


def _seconds(
    job: Job, placement: Placement, gpu: Gpu, transformer: float, text: float, decoding: Cost
) -> dict[str, float]:
    compute = job.transformer_flops / (MFU * gpu.flops)
    if placement.weights == "fp8":  # every step reads 1 byte a weight, writes 2 to compute with and puts the 1 back
        compute += job.steps * 6 * job.costs.total_parameters / gpu.bandwidth
    pinned, pageable = PINNED_SHARE * gpu.bus, PAGEABLE_SHARE * gpu.bus
    moved = 0.0 if placement.where == "resident" else 2 * text / pageable
    if placement.where == "offload":
        moved += 2 * transformer / pageable
    elif placement.where == "group" and placement.prefetch:  # the copies hide behind computing, or the other way round
        moved += max(0.0, job.steps * transformer / pinned - compute)
    elif placement.where == "group":
        moved += 2 * job.steps * transformer / pageable
    return {
        "transformer": compute,
        "codec": decoding.flops / (CODEC_SHARE * gpu.flops),
        "transfers": moved,
    }
