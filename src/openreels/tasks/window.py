"""Between a request and the pipeline: what the model is, what one run of it is given, and what comes back.

Legend: T frames, H W pixels, K channels, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from openreels.media import Clip
from openreels.media.timing import frames_for, padded_frames
from openreels.request import Capabilities, RequestError
from openreels.tasks.canvas import Canvas
from openreels.tasks.given import Given

__all__ = ["Made", "Making", "Model", "Read", "Window"]

Read = Callable[[str], Clip]


@dataclass(frozen=True)
class Model:
    """What tasks must know of a model.

    side: pixels of a token, in height and in width. group: frames of a latent frame. channels: of its sound.
    """

    capabilities: Capabilities
    side: int
    group: int
    channels: int

    @property
    def fps(self) -> Fraction:
        return self.capabilities.fps

    @property
    def sample_rate(self) -> int:
        return self.capabilities.sample_rate

    @property
    def longest(self) -> int:
        """Frames of the longest clip, whole latent frames."""
        return padded_frames(frames_for(self.capabilities.durations[1], self.fps), self.group)

    @property
    def usual(self) -> int:
        """Frames of the clip that it makes where nothing is asked, whole latent frames."""
        duration = self.capabilities.duration or self.capabilities.durations[1]
        return min(self.longest, padded_frames(frames_for(duration, self.fps), self.group))

    def canvas(self, aspect: str, resolution: str | None) -> Canvas:
        resolution = resolution or self.capabilities.resolution or self.capabilities.resolutions[0]
        return Canvas.of(aspect, resolution, self.fps, self.side, self.group)

    def check_length(self, name: str, frames: int, shortest: bool = True) -> None:
        """Raises RequestError where what is given is longer than a clip of this model, or shorter (by over a frame)."""
        low, high = self.capabilities.durations
        too_short = shortest and frames + 1 < frames_for(low, self.fps)
        if frames > self.longest or too_short:
            accepted = f"{low:g} to {high:g} s" if shortest else f"up to {high:g} s"
            raise RequestError(f"{name} lasts {float(frames / self.fps):.4g} s; accepted are {accepted}")


@dataclass(frozen=True, eq=False)
class Window:
    """One run of the model for one request.

    frames: of the result; the model draws whole latent frames. video, audio: which streams take part, made or given.
    media: what a multimodal encoder sees and hears of the prompt's references, by tag. part of parts: for progress.
    """

    prompt: str
    canvas: Canvas
    frames: int
    video: bool
    audio: bool
    given: Given = Given()  # noqa: RUF009 - immutable
    media: Mapping[str, Clip] = field(default_factory=dict)
    part: int = 0
    parts: int = 1

    @property
    def signature(self) -> tuple:
        """What windows must share to run side by side."""
        return self.canvas.size, self.canvas.whole(self.frames), self.video, self.audio, self.given.signature


@dataclass(frozen=True, eq=False)
class Made:
    """What came back: frames uint8 (T, height, width, 3) of the result, kept pixels exact; sound float32 (K, S) as long
    as the frames; None of what took no part."""

    frames: np.ndarray | None
    sound: np.ndarray | None


# A task asks for one window or several, one after another, and returns the clip.
Making = Generator[Window, Made, Clip]
