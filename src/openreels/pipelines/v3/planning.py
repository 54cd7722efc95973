"""What a request needs on a named GPU, and how to place the networks there; before anything is loaded, without torch.

A `Job` is a request as passes of the transformer and the autoencoder. A `Placement` says where weights are, in plain
data; `estimate` gives its memory and time, `hardware.choose` the fastest that fits; `placement.py` carries it out.

Memory is arithmetic (see `budget.py`). Seconds are ESTIMATES: FLOPs over a stated share of the data sheet's peak, bytes
over a stated share of the bus. Nothing here was measured on the GPUs named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

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
    "MODELS",
    "Job",
    "estimate",
    "estimates",
    "job_of",
    "model_of",
]

TEXT_ENCODER_BYTES = 0.2e9  # what 512 tokens take beyond the weights

# -- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """What is planned for: its network, and what is loaded beside it.

    steps: the pipeline's default. branches: evaluations of a step with guidance on. transformers: how many are loaded:
    the extension has one for each of its two tasks, and the command line loads the one it needs. stored: bytes per
    weight of linear layers that a file holds quantised (GGUF), which then stay so; None: 16 bits.
    """

    name: str
    hub_ids: tuple[str, ...]
    network: budget.Network
    components: tuple[str, ...]
    steps: int
    branches: int
    transformers: int = 1
    stored: float | None = None


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
    ),
    "v2v-shot": Model("v2v-shot", (), budget.V2V, ("text_encoder", "vae"), 8, 2),
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
    def result_bytes(self) -> int:
        """Of the result's frames, uint8: finished passes wait in RAM, and are in it once."""
        return 3 * self.frames * self.height * self.width

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
    model: str | Model,
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
    kind = model_of(model) if isinstance(model, str) else model
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


def estimate(job: Job, placement: Placement, gpu: Gpu) -> Estimate:
    network = job.model.network
    linear = linear_bytes(job.model, placement)
    block, outer = network.block_bytes(linear), network.outer_bytes(linear)
    transformer = network.weight_bytes(linear)
    weights = {name: budget.COMPONENTS[name].bytes for name in job.model.components}
    vae, text = weights["vae"], weights["text_encoder"]
    others = sum(weights.values()) - vae - text
    coding, forward = job.codec_bytes(placement.tiling), job.forward_bytes

    everything = job.model.transformers * transformer + sum(weights.values())
    loading = job.model.transformers * network.weight_bytes(job.model.stored or 2) + sum(weights.values())
    if placement.where == "resident":
        base = dict.fromkeys(("text", "sampling", "codec"), everything)
        ram = PROCESS_BYTES + job.result_bytes
    elif placement.where == "offload":
        # Its hooks leave the autoencoder on the device once it has worked; it sends all others away when it works.
        base = {"text": text, "sampling": transformer + vae, "codec": vae}
        ram = PROCESS_BYTES + everything + job.result_bytes
    else:
        held = outer + block * (2 if placement.prefetch else 1)
        # The audio encoder is called by its parts, which no hook sees the end of: it stays.
        stays = vae + weights.get("audio_encoder", 0)
        base = {"text": text + vae, "sampling": held + stays, "codec": stays}
        # Pinned copies take what they hold: `placement.pin_exactly` keeps torch from rounding them up.
        ram = PROCESS_BYTES + everything - vae + job.result_bytes
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


def linear_bytes(model: Model, placement: Placement) -> float:
    """Per weight of the transformer's linear layers."""
    return {"bf16": 2, "fp8": 1, "gguf": model.stored or 2}[placement.weights]


def _seconds(job: Job, placement: Placement, gpu: Gpu, linear: float) -> dict[str, float]:
    """By what they go to. A plain move counts both ways: what leaves the device is copied back."""
    network = job.model.network
    pinned, pageable = PINNED_SHARE * gpu.bus, PAGEABLE_SHARE * gpu.bus
    evaluations = job.evaluations * len(job.passes)
    compute = job.transformer_flops / (MFU * gpu.flops)
    if placement.weights != "bf16":
        # Every evaluation reads a weight as stored, writes 2 bytes to compute with and reads them; fp8 is put back.
        spread = 6 if placement.weights == "fp8" else linear + 4
        compute += evaluations * spread * network.num_layers * network.block_linear_parameters / gpu.bandwidth
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
    """Of every placement; what is stored quantised stays so."""
    placements = PLACEMENTS
    if job.model.stored is not None:
        placements = [replace(each, weights="gguf") for each in PLACEMENTS if each.weights == "bf16"]
    return estimates_of(lambda placement: estimate(job, placement, gpu), placements, gpu, ram)
