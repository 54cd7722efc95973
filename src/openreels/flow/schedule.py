"""Which times the sampler visits, per stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Times from 0 (noise) to 1 (data).

    steps: number of solver steps, >= 1.
    shift: > 1 spends more steps near noise (sigma -> shift sigma / (1 + (shift - 1) sigma), sigma = 1 - t).
    audio_lag: share of the way by which sound starts later than the picture, in [0, 1). Sound that can look at an
        almost finished picture keeps better time (.94 against .80-.91 of contacts within 80 ms in the first trial).
    """

    steps: int = 30
    shift: float = 1.0
    audio_lag: float = 0.0

    def times(self) -> tuple[Tensor, Tensor]:
        """Times of video and of audio, float32, each (steps + 1): the first is exactly 0, the last exactly 1."""
        progress = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64) * (1 + self.audio_lag)
        return self._shifted(progress.clamp(max=1)), self._shifted((progress - self.audio_lag).clamp(0, 1))

    def _shifted(self, progress: Tensor) -> Tensor:
        # sigma -> shift sigma / (1 + (shift - 1) sigma) written in t, so that both ends are exact.
        return (progress / (progress + self.shift * (1 - progress))).float()
