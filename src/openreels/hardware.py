"""The GPUs that plans are made for, where a model's weights may be while it works, and what that takes; plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

__all__ = [
    "ASSUMPTIONS",
    "CODEC_SHARE",
    "GPUS",
    "MFU",
    "PAGEABLE_SHARE",
    "PINNED_SHARE",
    "PLACEMENTS",
    "PROCESS_BYTES",
    "Estimate",
    "Gpu",
    "Placement",
    "choose",
    "estimates_of",
]

# Assumed in every plan, none of them measured on these GPUs.
MFU = 0.4  # share of the peak that transformers and text encoders reach
CODEC_SHARE = 0.1  # of the same peak, for the convolutions of a video codec
PINNED_SHARE, PAGEABLE_SHARE = 0.8, 0.3  # of the bus: prefetch from pinned memory; plain moves of whole components
PROCESS_BYTES = 3e9  # RAM of Python with torch, beside weights
ASSUMPTIONS = {
    "transformer_share_of_peak": MFU,
    "codec_share_of_peak": CODEC_SHARE,
    "bus_share_pinned": PINNED_SHARE,
    "bus_share_pageable": PAGEABLE_SHARE,
    "process_ram_bytes": PROCESS_BYTES,
}

LOSSY_GAIN = 0.9  # 8-bit weights change the result: they are chosen only where they take less than this share of time


@dataclass(frozen=True)
class Gpu:
    """memory: bytes, the vendor's GB as 10^9: real cards have up to 7 % more, which is left to the CUDA context and to
    fragmentation. flops: dense bf16 products per second with float32 sums. bus: PCIe bytes per second, one way.
    bandwidth: bytes per second of its memory. All from the vendor's data sheets."""

    name: str
    memory: float
    flops: float
    bus: float
    bandwidth: float


PCIE4, PCIE5 = 32e9, 64e9
GPUS: Mapping[str, Gpu] = {
    "4090": Gpu("GeForce RTX 4090", 24e9, 165.2e12, PCIE4, 1008e9),
    "5090": Gpu("GeForce RTX 5090", 32e9, 209.5e12, PCIE5, 1792e9),
    "A100-40": Gpu("A100 SXM 40 GB", 40e9, 312e12, PCIE4, 1555e9),
    "A100-80": Gpu("A100 SXM 80 GB", 80e9, 312e12, PCIE4, 2039e9),
    "H100": Gpu("H100 SXM 80 GB", 80e9, 989.4e12, PCIE5, 3350e9),
    "H200": Gpu("H200 SXM 141 GB", 141e9, 989.4e12, PCIE5, 4800e9),
    "B200": Gpu("B200 (HGX) 180 GB", 180e9, 2250e12, PCIE5, 7700e9),
}


@dataclass(frozen=True)
class Placement:
    """Where weights are while a pipeline works.

    where: "resident": all on the device. "offload": in RAM, one component after another on the device. "group": the
    transformer's blocks come to the device one at a time, other components (but the autoencoder) while they work.
    prefetch: of groups: the next block is copied while one computes (CUDA only). weights: of the transformer's linear
    layers: "bf16" (as loaded), "fp8" (stored so, computed in bf16; changes the result a little) or "gguf" (as the file
    has them).
    tiling: the autoencoder works on tiles of 256 pixels (changes the result a little at their seams).
    """

    where: str = "resident"
    weights: str = "bf16"
    prefetch: bool = False
    tiling: bool = False

    def __post_init__(self) -> None:
        if self.where not in ("resident", "offload", "group"):
            raise ValueError(f"where must be resident, offload or group, not {self.where!r}")
        if self.weights not in ("bf16", "fp8", "gguf"):
            raise ValueError(f"weights must be bf16, fp8 or gguf, not {self.weights!r}")
        if self.prefetch and self.where != "group":
            raise ValueError(f"only groups are prefetched, and where is {self.where!r}")

    @property
    def name(self) -> str:
        parts = [self.where, *["prefetch"] * self.prefetch, self.weights, *["tiled VAE"] * self.tiling]
        return ", ".join(parts)


PLACEMENTS = tuple(
    Placement(where, weights, prefetch)
    for where, prefetch in (("resident", False), ("offload", False), ("group", True), ("group", False))
    for weights in ("bf16", "fp8")
)


@dataclass(frozen=True)
class Estimate:
    """vram: peak bytes by phase. ram_loading: peak bytes of RAM while everything is loaded, in bf16, before it is
    placed; ram: afterwards. seconds: by what they go to; estimated."""

    placement: Placement
    vram: Mapping[str, float]
    ram_loading: float
    ram: float
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def peak_vram(self) -> float:
        return max(self.vram.values())

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def fits(self, gpu: Gpu, ram: float = inf) -> bool:
        return self.peak_vram <= gpu.memory and max(self.ram_loading, self.ram) <= ram


def estimates_of(
    estimate: Callable[[Placement], Estimate], placements: Iterable[Placement], gpu: Gpu, ram: float = inf
) -> list[Estimate]:
    """Of every placement; with a tiled video codec where it does not fit without and takes less so."""
    found = []
    for placement in placements:
        plain = estimate(placement)
        if not plain.fits(gpu, ram):
            tiled = estimate(replace(placement, tiling=True))
            plain = tiled if tiled.peak_vram < plain.peak_vram else plain
        found.append(plain)
    return found


def choose(found: Sequence[Estimate], gpu: Gpu, ram: float = inf) -> Estimate | None:
    """The fastest that fits, None where nothing does. Weights in 8 bits must be worth it (`LOSSY_GAIN`)."""
    fitting = [each for each in found if each.fits(gpu, ram)]

    def cost(each: Estimate) -> float:
        return each.total_seconds / (LOSSY_GAIN if each.placement.weights == "fp8" else 1)

    return min(fitting, key=cost, default=None)
