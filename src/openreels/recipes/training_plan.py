"""What the paper's schedule takes to train a preset on many GPUs: memory on each, days, money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from openreels.hardware import MFU, Gpu
from openreels.media.aspect import frame_size
from openreels.recipes.costs import BF16, FLOAT32, Costs, Size
from openreels.recipes.v4_phases import PHASES
from openreels.training.sharded.conditions import TASKS, Task
from openreels.training.sharded.phases import Phase

__all__ = ["PhaseCost", "Training", "phase_cost", "phase_costs"]

ASPECT = "16:9"  # of all clips


@dataclass(frozen=True)
class Training:
    """How a preset is trained. gpus: in all; context: of them share one clip's tokens (context parallelism).

    clips: of the largest size in one GPU's micro-batch (a group's, with context). price: of one GPU hour.
    """

    gpu: Gpu
    gpus: int
    context: int = 1
    clips: int = 1
    price: float = 0.0

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.context < 1 or self.gpus % self.context or self.clips < 1:
            raise ValueError(
                f"{self.gpus} GPUs do not divide into groups of {self.context}; both must be at least 1, as clips"
            )


@dataclass(frozen=True)
class PhaseCost:
    """One phase of the schedule. flops: of all its samples, without computing layers again for checkpointing.

    tokens: video and audio, of its largest clip. memory: bytes on each GPU at the peak, by what they hold.
    days, price: on all GPUs of the plan.
    """

    phase: Phase
    samples: float
    steps: int
    flops: float
    tokens: int
    memory: Mapping[str, float]
    days: float
    price: float

    @property
    def peak(self) -> float:
        return sum(self.memory.values())


def phase_costs(costs: Costs, training: Training, phases: Sequence[Phase] = PHASES) -> list[PhaseCost]:
    return [phase_cost(costs, training, phase) for phase in phases]


def phase_cost(costs: Costs, training: Training, phase: Phase) -> PhaseCost:
    mean = sum(share * _sample_flops(costs, phase, TASKS[name]) for name, share in phase.shares.items())
    flops = phase.samples * mean
    largest = max(
        (size for name in phase.shares for size, _ in _sizes(costs, phase, TASKS[name])),
        key=lambda size: size.video + size.audio,
    )
    trained = sum(costs.parameters[part] for part in phase.chosen.learns)
    shards = training.gpus
    memory = {
        # Of the whole model, whatever a phase trains of it: it goes from phase to phase in one piece.
        "weights": FLOAT32 * costs.total_parameters / shards,
        "gradients": FLOAT32 * trained / shards,
        "moments": 2 * FLOAT32 * trained / shards,
        "average": FLOAT32 * trained / shards,
        # Layers gathered in bfloat16: the one at work and the next.
        "gathered layers": 2 * BF16 * costs.layer_parameters if shards > 1 else 0,
        "activations": costs.training_bytes(largest, training.clips) / training.context,
    }
    seconds = flops / (MFU * training.gpu.flops * training.gpus)
    hours = seconds / 3600
    return PhaseCost(
        phase,
        phase.samples,
        phase.steps,
        flops,
        largest.video + largest.audio,
        memory,
        hours / 24,
        hours * training.gpus * training.price,
    )


def _sample_flops(costs: Costs, phase: Phase, task: Task) -> float:
    """Forward and backward of the mean sample of a task in a phase."""
    return 3 * sum(weight * costs.forward_flops(size) for size, weight in _sizes(costs, phase, task))


def _sizes(costs: Costs, phase: Phase, task: Task) -> Iterable[tuple[Size, float]]:
    """Sizes of a task's clips in a phase and their weights, summing to 1.

    Resolutions are equally frequent, lengths uniform between the shortest and the longest: FLOPs are a quadratic of the
    length, so Simpson's rule over three lengths is exact but for the rounding to whole latent frames.
    """
    video = "video" in task.streams
    resolutions = (phase.published.resolutions or (256,)) if video else (256,)
    shortest, longest = phase.seconds or (0, 0)
    if task.still:
        lengths = [(Fraction(1, costs.preset.fps), 1.0)]
    else:
        middle = (shortest + longest) / 2
        lengths = [(Fraction(shortest), 1 / 6), (Fraction(middle), 4 / 6), (Fraction(longest), 1 / 6)]
    for resolution in resolutions:
        height, width = frame_size(ASPECT, resolution)
        for seconds, weight in lengths:
            frames = max(1, ceil(seconds * costs.preset.fps))
            size = costs.size(frames, height, width, video, "audio" in task.streams)
            if task.reference:
                # A reference clip is taken to be as long as the clip itself, a reference picture is one frame.
                length = size.grid[0] if task.reference == "video" else 1
                size = replace(size, reference=(length, *size.grid[1:]))
            yield size, weight / len(resolutions)
