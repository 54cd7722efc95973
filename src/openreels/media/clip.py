"""`Clip`: frames and sound in memory, exactly timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["Clip"]

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """A video with its sound; or a silent video, a sound alone, a still picture (one frame).

    frames:      (T, H, W, 3) uint8 RGB, or None for a sound alone.
    fps:         frames per second, exact; 0 without frames. A still picture read from a file has 1.
    audio:       (C, N) float32 in [-1, 1], or None for a silent clip.
    sample_rate: Hz; 0 without audio.
    metadata:    what travels in the file's tags; `media.recipe` keeps the recipe there.

    Sound starts with the first frame. Raises ValueError where the arrays break these rules; values beyond [-1, 1] are
    accepted here and clipped when written, as any player would.
    """

    frames: np.ndarray | None = None
    fps: Fraction = Fraction(0)
    audio: np.ndarray | None = None
    sample_rate: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        if self.frames is None and self.audio is None:
            raise ValueError("a clip needs frames, audio or both")
        if self.frames is not None:
            shape = self.frames.shape
            if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
                raise ValueError(f"frames must be (T, H, W, 3) uint8, not {shape} {self.frames.dtype}")
            if not isinstance(self.fps, Fraction | int) or self.fps <= 0:
                raise ValueError(f"fps must be an exact positive Fraction, not {self.fps!r}")
            object.__setattr__(self, "fps", Fraction(self.fps))
        if self.audio is not None:
            shape = self.audio.shape
            if self.audio.dtype != np.float32 or len(shape) != 2 or 0 in shape:
                raise ValueError(f"audio must be (C, N) float32, not {shape} {self.audio.dtype}")
            if self.sample_rate <= 0:
                raise ValueError(f"sample_rate must be positive, not {self.sample_rate}")
            # A NaN would leave the encoder as silence: a clip that looks whole and is not.
            if not np.isfinite(self.audio).all():
                raise ValueError("audio must be finite, not NaN or infinite")

    @property
    def duration(self) -> float:
        """Seconds; of the video where there is one."""
        if self.frames is not None:
            return float(len(self.frames) / self.fps)
        return self.audio.shape[1] / self.sample_rate

    @property
    def is_still(self) -> bool:
        """One frame and no sound: fits a picture file."""
        return self.frames is not None and len(self.frames) == 1 and self.audio is None

    def facts(self) -> dict[str, Any]:
        """The clip in numbers, ready for JSON; only of what it has. fps is exact: "30000/1001"."""
        facts: dict[str, Any] = {"duration": self.duration}
        if self.frames is not None:
            count, height, width, _ = self.frames.shape
            facts |= {"frames": count, "height": height, "width": width, "fps": str(self.fps)}
        if self.audio is not None:
            facts |= {"channels": self.audio.shape[0], "sample_rate": self.sample_rate}
        return facts

    def __repr__(self) -> str:
        parts = [f"{self.duration:.2f} s"]
        if self.frames is not None:
            count, height, width, _ = self.frames.shape
            parts.append(f"{count} frames of {width} x {height} at {float(self.fps):g} fps")
        if self.audio is not None:
            parts.append(f"sound of {self.audio.shape[0]} x {self.sample_rate:,} Hz")
        return f"Clip({', '.join(parts)})"

    @classmethod
    def open(cls, path: str | Path) -> Clip:
        """Read a video, animation, picture or sound file. Raises MediaError: one sentence on what is wrong with it."""
        from openreels.media.read import read_clip  # PyAV and Pillow load when a file is first touched

        return read_clip(path)

    def save(self, path: str | Path) -> Path:
        """Write by extension: mp4, mov (H.264 + AAC); wav, flac, mp3, m4a (no frames); png, jpg, webp (one frame).

        The same clip always gives the same bytes; the file appears whole or not at all. Raises MediaError.
        """
        from openreels.media.write import write_clip

        return write_clip(self, path)
