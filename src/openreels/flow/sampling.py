"""The sampling loop: Euler steps along the guided velocity, both streams side by side.

A stream may be given: it starts at time 1 with clean latents, stays there, and the other one follows it.

Legend: B batch, N tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from openreels.flow.guidance import Guidance, Model
from openreels.flow.schedule import Schedule
from openreels.types import Context, StreamState

__all__ = ["Progress", "sample"]

Progress = Callable[[int, int], None]


@torch.no_grad()
def sample(
    model: Model,
    video: StreamState | None,
    audio: StreamState | None,
    prompt: Context,
    negative: Context,
    schedule: Schedule,
    guidance: Guidance,
    progress: Progress | None = None,
) -> tuple[StreamState | None, StreamState | None]:
    """Carry both states from noise (time 0) to data (time 1). A stream that is None is not generated; one that starts
    at time 1 stays as it is, bit for bit.

    progress: called as progress(step, steps) after each step; an exception raised in it (an interrupt) ends the loop.
    """
    video_times, audio_times = schedule.times()
    video_given, audio_given = (state is not None and bool((state.time_B == 1).all()) for state in (video, audio))
    for step in range(schedule.steps):
        v_video, v_audio = guidance(model, video, audio, prompt, negative)
        if not video_given:
            video = _euler(video, v_video, float(video_times[step]), float(video_times[step + 1]))
        if not audio_given:
            audio = _euler(audio, v_audio, float(audio_times[step]), float(audio_times[step + 1]))
        if progress is not None:
            progress(step + 1, schedule.steps)
    return video, audio


def _euler(state: StreamState | None, velocity_BNC, start: float, end: float) -> StreamState | None:
    if state is None:
        return None
    moved = state.noisy_BNC + (end - start) * velocity_BNC.to(state.noisy_BNC.dtype)
    return state.at(moved, torch.full_like(state.time_B, end))
