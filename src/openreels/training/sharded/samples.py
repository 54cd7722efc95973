"""What a training step works on: ready samples, whatever they come from, and how a batch of them is put on the path.

A sample is latents, a task (what is given, which references) and the context of its prompt. A source says which samples
a step takes as a function of the step alone, so nothing of it needs saving but the step.

Legend: B batch, N tokens, R reference tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from openreels.training.stages import OnPath, on_path
from openreels.types import Context, StreamState

__all__ = ["Batch", "Sample", "Source", "Streamed", "Target", "Times", "UniformTimes", "collate"]


class Target(NamedTuple):
    """One stream of a sample. blank: its task, batch 1, at time 0. data_BNC: the clean latents to be generated."""

    blank: StreamState
    data_BNC: Tensor


@dataclass(frozen=True)
class Sample:
    """One clip. A stream that is None is not trained on it. context: of batch 1."""

    context: Context
    video: Target | None
    audio: Target | None

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(name for name in ("video", "audio") if getattr(self, name) is not None)


class Source(Protocol):
    """Where samples come from."""

    def micro_batch(self, step: int, number: int) -> list[Sample]:
        """Micro-batch `number` of a step: as many clips as the training takes at a time, of one shape. All those of a
        step must have the same streams.

        Must depend on its arguments alone: which process asks, and how many there are, must not matter.
        """
        ...


class Streamed:
    """Any iterable of samples as a source: the training takes them in their order, and from the start when they end.

    batch, micro_batch: as in `TrainerConfig`. Every process reads past the samples of the others, and resuming reads
    up to the place where it goes on, so reading must be cheap beside training.
    Raises ValueError where the iterable has no samples.
    """

    def __init__(self, samples: Iterable[Sample], batch: int, micro_batch: int):
        self.samples, self.batch, self.size = samples, batch, micro_batch
        self.reader, self.read = self._endless(), 0

    def micro_batch(self, step: int, number: int) -> list[Sample]:
        first = step * self.batch + number * self.size
        if first < self.read:
            self.reader, self.read = self._endless(), 0
        found = list(islice(self.reader, first - self.read, first - self.read + self.size))
        self.read = first + self.size
        return found

    def _endless(self) -> Iterator[Sample]:
        while True:
            sample = None
            for sample in self.samples:
                yield sample
            if sample is None:
                raise ValueError("there are no samples to train on")


class Times(Protocol):
    """How times on the path are drawn; `training.stages.TimeSampling` is another one."""

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class UniformTimes:
    """t ~ U(0, 1), one for both streams (paper, training objective).

    clean_video, clean_audio: shares of the samples in which that stream is given clean (t = 1), so that a soundtrack
    can drive a picture and the other way round; the paper has none.
    """

    clean_video: float = 0.0
    clean_audio: float = 0.0

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(t_video, t_audio), each (B,)."""
        time_B, kind_B = torch.rand(2, batch, generator=generator)
        clean_audio_B = (kind_B >= self.clean_video) & (kind_B < self.clean_video + self.clean_audio)
        return time_B.masked_fill(kind_B < self.clean_video, 1.0), time_B.masked_fill(clean_audio_B, 1.0)


class Batch(NamedTuple):
    """Samples on the path. tie_B: 1 = the streams see each other."""

    context: Context
    video: OnPath | None
    audio: OnPath | None
    tie_B: Tensor

    def to(self, device: torch.device) -> Batch:
        video, audio = (None if stream is None else stream.to(device) for stream in (self.video, self.audio))
        return Batch(self.context.to(device), video, audio, self.tie_B.to(device))


def collate(
    samples: Sequence[Sample], times: Times, cross_dropout: float, generators: Sequence[torch.Generator]
) -> Batch:
    """Samples of one shape as a batch, each at a time and with noise of its own.

    cross_dropout: share of samples in which the streams do not see each other. generators: one for each sample, so
    that what is drawn for it does not depend on which others are in the batch.
    Raises ValueError where shapes or streams differ.
    """
    placed = [_place(*pair, times, cross_dropout) for pair in zip(samples, generators, strict=True)]
    return Batch(
        Context.stack([sample.context for sample in samples]),
        _stacked("video", [one.video for one in placed]),
        _stacked("audio", [one.audio for one in placed]),
        torch.cat([one.tie_B for one in placed]),
    )


def _place(sample: Sample, generator: torch.Generator, times: Times, cross_dropout: float) -> Batch:
    """A batch of one."""
    drawn = times.draw(1, generator)
    tie_B = (torch.rand(1, generator=generator) >= cross_dropout).float()
    video, audio = (
        None if target is None else on_path(target.blank, target.data_BNC.float(), time_B, generator)
        for target, time_B in zip((sample.video, sample.audio), drawn, strict=True)
    )
    return Batch(sample.context, video, audio, tie_B)


def _stacked(name: str, truths: Sequence[OnPath | None]) -> OnPath | None:
    if len({None if truth is None else _positions(truth.state) for truth in truths}) > 1:
        raise ValueError(f"{name}: samples of a micro-batch need the same tokens and references at the same positions")
    if truths[0] is None:
        return None
    states = [truth.state for truth in truths]
    batched = {
        field.name: torch.cat([getattr(state, field.name) for state in states])
        for field in fields(StreamState)
        if "_B" in field.name and getattr(states[0], field.name) is not None  # nobody has a layout here
    }
    return OnPath(replace(states[0], **batched), torch.cat([truth.target_BNC for truth in truths]))


def _positions(state: StreamState) -> bytes:
    return torch.cat([state.reference_positions_RP, state.positions_NP]).numpy().tobytes()
