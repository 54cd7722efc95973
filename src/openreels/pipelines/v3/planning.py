"""What a request needs on a named GPU, and how to place the networks there; before anything is loaded, without torch.

A `Job` is a request as passes of the transformer and the autoencoder. A `Placement` says where weights are, in plain
data; `estimate` gives its memory and time, `choose` the fastest that fits; `placement.py` carries it out.

Memory is arithmetic (see `budget.py`). Seconds are ESTIMATES: FLOPs over a stated share of the data sheet's peak, bytes
over a stated share of the bus. Nothing here was measured on the GPUs named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from openreels.media.timing import exact, frames_for, padded_frames
from openreels.pipelines.v3 import budget
from openreels.pipelines.v3.plans import (
    AVATAR_FPS,
    AVATAR_FRAMES,
    FPS,
    PREFIX_FRAMES,
    AvatarPlan,
    Segments,
    context_frames,
    even_rolls,
    frames_to_draw,
    latents_of,
    official_rolls,
    shot_seconds,
)
from openreels.pipelines.v3.sizes import AVATAR_BUCKETS, BUCKETS, pick_size

__all__ = [
    "ASSUMPTIONS",
    "GPUS",
    "MODELS",
    "PLACEMENTS",
    "Estimate",
    "Gpu",
    "Job",
    "Placement",
    "choose",
    "estimate",
    "estimates",
    "job_of",
    "model_of",
]

# -- machines ---------------------------------------------------------------------------------------------------------


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

# Assumed, none of them measured on these GPUs.
MFU = 0.4  # share of the peak that the transformer and the text encoder reach
CODEC_SHARE = 0.1  # of the same peak, for the autoencoder's float32 (TF32) convolutions
PINNED_SHARE, PAGEABLE_SHARE = 0.8, 0.3  # of the bus: prefetch from pinned memory; plain moves of whole components
PROCESS_BYTES = 3e9  # RAM of Python with torch, beside weights
TEXT_ENCODER_BYTES = 0.2e9  # what 512 tokens take beyond the weights
LOSSY_GAIN = 0.9  # 8-bit weights change the result: they are chosen only where they take less than this share of time
ASSUMPTIONS = {
    "transformer_share_of_peak": MFU,
    "codec_share_of_peak": CODEC_SHARE,
    "bus_share_pinned": PINNED_SHARE,
    "bus_share_pageable": PAGEABLE_SHARE,
    "process_ram_bytes": PROCESS_BYTES,
}


# -- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """What is planned for: its network, and what is loaded beside it.

    steps: the pipeline's default. branches: evaluations of a step with guidance on. transformers: how many are loaded;
    the extension has one for each of its two tasks, and `loading.py` loads what a folder holds.
    """

    name: str
    hub_ids: tuple[str, ...]
    network: budget.Network
    components: tuple[str, ...]
    steps: int
    branches: int
    transformers: int = 1


MODELS: Mapping[str, Model] = {
    "r2v": Model(
        "r2v",
        ("Skywork/SkyReels-V3-R2V-14B", "Skywork/SkyReels-V3-Reference2Video"),
        budget.R2V,
        ("text_encoder", "vae"),
        8,
        3,
    ),
    "v2v": Model(
        "v2v",
        ("Skywork/SkyReels-V3-V2V-14B", "Skywork/SkyReels-V3-Video-Extension"),
        budget.V2V,
        ("text_encoder", "vae"),
        8,
        2,
        transformers=2,
    ),
    "v2v-shot": Model("v2v-shot", (), budget.V2V, ("text_encoder", "vae"), 8, 2, transformers=2),
    "a2v": Model(
        "a2v",
        ("Skywork/SkyReels-V3-A2V-19B", "Skywork/SkyReels-V3-TalkingAvatar"),
        budget.A2V,
        ("text_encoder", "vae", "image_encoder", "audio_encoder"),
        4,
        2,
    ),
}


def model_of(name: str) -> Model:
    """By its short name or hub id. Raises ValueError."""
    for model in MODELS.values():
        if name == model.name or name in model.hub_ids:
            return model
    raise ValueError(f"model must be one of {', '.join(MODELS)}, or the hub id of one, not {name!r}")


@dataclass(frozen=True)
class Pass:
    """What the transformer sees, and the frames of each clip that the autoencoder takes in and gives out around it."""

    sequence: budget.Sequence
    encoded: tuple[int, ...]
    decoded: int


@dataclass(frozen=True)
class Job:
    """A request as work. height, width: pixels that are drawn. frames: of the result. evaluations: of the transformer
    in each pass, steps times guidance branches."""

    model: Model
    height: int
    width: int
    frames: int
    fps: int
    passes: Sequence[Pass]
    evaluations: int
    prompts: int = 1

    @property
    def largest(self) -> budget.Sequence:
        return max((each.sequence for each in self.passes), key=lambda sequence: sequence.tokens)

    @property
    def longest_clip(self) -> int:
        return max(each.decoded for each in self.passes)

    @property
    def transformer_flops(self) -> int:
        return sum(self.evaluations * budget.forward_flops(self.model.network, each.sequence) for each in self.passes)

    @property
    def text_flops(self) -> int:
        """Two per weight and token; the embedding table only looks up."""
        weights = budget.COMPONENTS["text_encoder"].parameters - 256_384 * 4096
        return self.prompts * 2 * weights * budget.TEXT_TOKENS

    def codec_flops(self, tiled: bool) -> int:
        size = self.height, self.width, tiled
        decoded = sum(budget.codec_flops("decode", each.decoded, *size) for each in self.passes)
        return decoded + sum(budget.codec_flops("encode", n, *size) for each in self.passes for n in each.encoded)

    def codec_bytes(self, tiled: bool) -> int:
        size = self.height, self.width, tiled
        encoded = max(n for each in self.passes for n in each.encoded)
        return max(budget.codec_bytes("decode", self.longest_clip, *size), budget.codec_bytes("encode", encoded, *size))

    @property
    def forward_bytes(self) -> int:
        extension = self.model.name.startswith("v2v")  # clean frames have a time of their own
        return budget.forward_bytes(self.model.network, self.largest, frame_times=extension)


def job_of(
    model: str,
    resolution: str = "720P",
    duration: float = 5.0,
    aspect: str = "16:9",
    steps: int | None = None,
    guidance: bool = False,
    references: int = 1,
    speakers: int = 1,
    official: bool = False,
) -> Job:
    """The work of a request, planned as the pipelines do. duration: seconds that are made; of an avatar, of its sound.

    Raises ValueError: one sentence on what is wrong.
    """
    kind = model_of(model)
    if not 0 < duration <= 200:
        raise ValueError(f"duration must be a number of seconds above 0 and up to 200, not {duration:g}")
    if official and kind.name != "a2v" and duration != int(duration):
        raise ValueError(f"official mode draws whole seconds, not {duration:g}")
    if steps is not None and not 1 <= steps <= 1000:
        raise ValueError(f"steps must be a whole number from 1 to 1,000, not {steps}")
    if not 1 <= references <= 4:
        raise ValueError(f"references must be from 1 to 4, not {references}")
    if not 1 <= speakers <= 8:
        raise ValueError(f"speakers must be from 1 to 8, not {speakers}")
    tables = AVATAR_BUCKETS if kind.name == "a2v" else BUCKETS
    height, width = pick_size((1, 1), tables, resolution, aspect)
    frame_tokens = (height // 16) * (width // 16)
    frames, passes = _passes(kind.name, duration, frame_tokens, references, speakers, official)
    return Job(
        kind,
        height,
        width,
        frames,
        AVATAR_FPS if kind.name == "a2v" else FPS,
        passes,
        (steps or kind.steps) * (kind.branches if guidance else 1),
        2 if guidance else 1,
    )


def _passes(
    model: str, duration: float, frame_tokens: int, references: int, speakers: int, official: bool
) -> tuple[int, list[Pass]]:
    """(frames of the result, passes)."""
    if model == "r2v":
        frames = FPS * int(duration) + 1 if official else frames_for(duration, FPS)
        drawn = padded_frames(frames)
        return frames, [Pass(budget.Sequence(latents_of(drawn) + 4, frame_tokens), (1,) * references, drawn)]
    if model == "v2v-shot":
        whole = shot_seconds(duration)
        drawn, context = FPS * whole + 1, context_frames(whole)
        sequence = budget.Sequence(latents_of(drawn) + latents_of(context), frame_tokens)
        frames = drawn if official else frames_to_draw(duration, exact(FPS))[0]
        return frames, [Pass(sequence, (context,), drawn)]
    if model == "v2v":
        shown, drawn = frames_to_draw(duration, exact(FPS))
        rolls, prefix = official_rolls(int(duration)) if official else even_rolls(drawn), latents_of(PREFIX_FRAMES)
        passes = [
            Pass(budget.Sequence(prefix + new, frame_tokens), (PREFIX_FRAMES,), PREFIX_FRAMES + 4 * new)
            for new in rolls
        ]
        return 4 * sum(rolls) if official else shown, passes
    frames = min(ceil(exact(duration) * AVATAR_FPS), AVATAR_FRAMES)
    plan = AvatarPlan.of(Segments(frames), official)
    window = plan.segments.window
    sequence = budget.Sequence(latents_of(window), frame_tokens, image_tokens=budget.IMAGE_TOKENS, speakers=speakers)
    return frames, [Pass(sequence, (window,), window)] * plan.passes


# -- placements -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """Where weights are while a pipeline works.

    where: "resident": all on the device. "offload": in RAM, one component after another on the device. "group": the
    transformer's blocks come to the device one at a time, other components (but the autoencoder) while they work.
    prefetch: of groups: the next block is copied while one computes (CUDA only). weights: of the transformer's linear
    layers: "bf16" (as loaded) or "fp8" (stored so, computed in bf16; changes the result a little).
    tiling: the autoencoder works on tiles of 256 pixels (changes the result a little at their seams).
    """

    where: str = "resident"
    weights: str = "bf16"
    prefetch: bool = False
    tiling: bool = False

    def __post_init__(self) -> None:
        if self.where not in ("resident", "offload", "group"):
            raise ValueError(f"where must be resident, offload or group, not {self.where!r}")
        if self.weights not in ("bf16", "fp8"):
            raise ValueError(f"weights must be bf16 or fp8, not {self.weights!r}")
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


def estimate(job: Job, placement: Placement, gpu: Gpu) -> Estimate:
    network = job.model.network
    linear = 1 if placement.weights == "fp8" else 2
    block, outer = network.block_bytes(linear), network.outer_bytes(linear)
    transformer = network.weight_bytes(linear)
    weights = {name: budget.COMPONENTS[name].bytes for name in job.model.components}
    vae, text = weights["vae"], weights["text_encoder"]
    others = sum(weights.values()) - vae - text
    coding, forward = job.codec_bytes(placement.tiling), job.forward_bytes

    everything = job.model.transformers * transformer + sum(weights.values())
    loading = job.model.transformers * network.weight_bytes(2) + sum(weights.values())
    if placement.where == "resident":
        base = dict.fromkeys(("text", "sampling", "codec"), everything)
        ram = PROCESS_BYTES
    elif placement.where == "offload":
        # Its hooks leave the autoencoder on the device once it has worked; it sends the transformer away when it works.
        base = {"text": text, "sampling": transformer + vae, "codec": vae}
        ram = PROCESS_BYTES + everything
    else:
        held = outer + block * (2 if placement.prefetch else 1)
        # The audio encoder is called by its parts, which no hook sees the end of: it stays.
        stays = vae + weights.get("audio_encoder", 0)
        base = {"text": text + vae, "sampling": held + stays, "codec": stays}
        ram = PROCESS_BYTES + everything - vae
    if placement.where != "resident":
        base["other encoders"] = vae + others  # small beside the other phases, which they never meet
    vram = {
        phase: size + {"text": TEXT_ENCODER_BYTES, "sampling": forward}.get(phase, 0) for phase, size in base.items()
    }
    vram["codec"] += coding
    return Estimate(
        placement,
        vram,
        PROCESS_BYTES + loading,
        ram,
        _seconds(job, placement, gpu, linear),
    )


def _seconds(job: Job, placement: Placement, gpu: Gpu, linear: int) -> dict[str, float]:
    """By what they go to. A plain move counts both ways: what leaves the device is copied back."""
    network = job.model.network
    pinned, pageable = PINNED_SHARE * gpu.bus, PAGEABLE_SHARE * gpu.bus
    evaluations = job.evaluations * len(job.passes)
    compute = job.transformer_flops / (MFU * gpu.flops)
    if linear == 1:  # every evaluation reads 1 byte and writes 2 per weight to compute with it, and the same back
        compute += evaluations * 6 * network.num_layers * network.block_linear_parameters / gpu.bandwidth
    text = budget.COMPONENTS["text_encoder"].bytes
    small = sum(budget.COMPONENTS[name].bytes for name in job.model.components) - text - budget.COMPONENTS["vae"].bytes
    moved = 0.0
    if placement.where != "resident":
        moved = 2 * (text + small * len(job.passes)) / pageable
    if placement.where == "offload":
        moved += len(job.passes) * 2 * network.weight_bytes(linear) / pageable
    blocks = evaluations * network.num_layers * network.block_bytes(linear)
    if placement.where == "group":
        moved += 2 * evaluations * network.outer_bytes(linear) / pageable
        if placement.prefetch:  # the copies hide behind computing, or computing behind the copies
            moved += max(0.0, blocks / pinned - compute) + network.block_bytes(linear) / pinned
        else:
            moved += 2 * blocks / pageable
    return {
        "text encoder": job.text_flops / (MFU * gpu.flops),
        "transformer": compute,
        "codec": job.codec_flops(placement.tiling) / (CODEC_SHARE * gpu.flops),
        "transfers": moved,
    }


def estimates(job: Job, gpu: Gpu, ram: float = inf) -> list[Estimate]:
    """Of every placement; with a tiled autoencoder only where it does not fit without."""
    found = []
    for placement in PLACEMENTS:
        plain = estimate(job, placement, gpu)
        if not plain.fits(gpu, ram):
            tiled = estimate(job, _tiled(placement), gpu)
            plain = tiled if tiled.peak_vram < plain.peak_vram else plain
        found.append(plain)
    return found


def _tiled(placement: Placement) -> Placement:
    return Placement(placement.where, placement.weights, placement.prefetch, tiling=True)


def choose(found: Sequence[Estimate], gpu: Gpu, ram: float = inf) -> Estimate | None:
    """The fastest that fits, None where nothing does. Weights in 8 bits must be worth it (`LOSSY_GAIN`)."""
    fitting = [each for each in found if each.fits(gpu, ram)]

    def cost(each: Estimate) -> float:
        return each.total_seconds / (LOSSY_GAIN if each.placement.weights == "fp8" else 1)

    return min(fitting, key=cost, default=None)
