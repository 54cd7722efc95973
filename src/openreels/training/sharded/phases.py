"""A phase of V4's training: what the paper says of it, and what we add to make it run.

`Published` holds the paper's numbers and nothing else (spec: the paper's training schedule). Everything in `Chosen` is
ours: the paper gives neither learning rates nor batch sizes, nor how tasks without a share divide the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from openreels.training.sharded.conditions import TASKS
from openreels.training.sharded.samples import Times, UniformTimes

__all__ = ["Chosen", "Phase", "Published"]


@dataclass(frozen=True)
class Published:
    """From the paper.

    tasks: name in `TASKS` -> share of the samples; None where the paper names the task without a share.
    resolutions: shorter sides in pixels (of videos in the audio phase: none). fps, seconds: of clips; None: not stated.
    images, videos: samples of an epoch. audio_hours: of an epoch; "hundreds of thousands" stands as 100,000 or more.
    """

    tasks: Mapping[str, float | None]
    epochs: int
    resolutions: tuple[int, ...] = ()
    fps: int | None = None
    seconds: tuple[float, float] | None = None
    images: float = 0
    videos: float = 0
    audio_hours: float = 0


@dataclass(frozen=True)
class Chosen:
    """Ours.

    learns, starts_from: parts that get gradients, and the phase each part's weights come from.
    shares: of tasks that the paper gives none, relative to one another; they divide what the others leave.
    batch: clips of a step. seconds: where the paper states none. clips_per_hour: of audio, at 15 s each.
    text_dropout, cross_dropout: samples without a prompt, and without a tie between the streams (for guidance).
    """

    learns: tuple[str, ...]
    batch: int
    learning_rate: float
    starts_from: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    warmup_steps: int = 1000
    seconds: tuple[float, float] | None = None
    clips_per_hour: int = 240
    text_dropout: float = 0.1
    cross_dropout: float = 0.1
    weight_decay: float = 0.01
    ema_decay: float = 0.9999
    times: Times = field(default_factory=UniformTimes)


@dataclass(frozen=True)
class Phase:
    """One phase, complete."""

    name: str
    published: Published
    chosen: Chosen

    def __post_init__(self):
        open_tasks = {name for name, share in self.published.tasks.items() if share is None}
        if unknown := {*self.published.tasks} - {*TASKS}:
            raise ValueError(f"phase {self.name} has unknown tasks: {', '.join(sorted(unknown))}")
        if open_tasks != {*self.chosen.shares}:
            raise ValueError(f"phase {self.name} needs chosen shares of exactly {', '.join(sorted(open_tasks))}")

    @property
    def shares(self) -> dict[str, float]:
        """Task -> share of the samples, summing to 1; none of a task whose loss reaches no part that learns."""
        given = {name: share for name, share in self.published.tasks.items() if share is not None}
        rest, total = 1 - sum(given.values()), sum(self.chosen.shares.values())
        shares = given | {name: rest * share / total for name, share in self.chosen.shares.items()}
        useful = {name: share for name, share in shares.items() if TASKS[name].reaches & {*self.chosen.learns}}
        # Nothing is divided where nothing is left out: shares stay the published numbers to the last bit.
        return useful if len(useful) == len(shares) else {n: s / sum(useful.values()) for n, s in useful.items()}

    def learning(self, parts: Sequence[str]) -> Phase:
        """The phase with only `parts` learning, of those that it learns; tasks that teach them nothing have no share.

        Raises ValueError where it learns none of them, or has no task that teaches one.
        """
        learns = tuple(part for part in self.chosen.learns if part in parts)
        if not learns:
            raise ValueError(
                f"phase {self.name} learns {', '.join(self.chosen.learns)}, none of which is to be trained"
            )
        phase = replace(self, chosen=replace(self.chosen, learns=learns))
        if not phase.shares:
            raise ValueError(f"phase {self.name} has no task from which {', '.join(learns)} could learn")
        return phase

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Shortest and longest clip; None for stills."""
        return self.published.seconds or self.chosen.seconds

    @property
    def samples(self) -> float:
        """Of all epochs."""
        published = self.published
        clips = published.audio_hours * self.chosen.clips_per_hour
        return published.epochs * (published.images + published.videos + clips)

    @property
    def steps(self) -> int:
        return ceil(self.samples / self.chosen.batch)
