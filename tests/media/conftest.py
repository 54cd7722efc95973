"""Media files made on the spot with PyAV, of kinds that our own writer never makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from openreels.media import Clip


def greys(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames whose grey tells their index: 20 + 10 * index."""
    levels = (20 + 10 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def indices(frames: np.ndarray) -> list[int]:
    """The inverse of `greys`, after lossy coding."""
    return np.rint((frames.mean(axis=(1, 2, 3)) - 20) / 10).astype(int).tolist()


def tone(seconds: float, sample_rate: int, channels: int = 1) -> np.ndarray:
    """(C, N): 300 Hz in the first channel, 200 Hz more in each further one."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.stack([0.4 * np.sin(2 * np.pi * (300 + 200 * c) * time) for c in range(channels)]).astype(np.float32)


def encode(
    path: Path,
    frames: np.ndarray | None = None,
    *,
    fps: Fraction | int = 10,
    times: Sequence[Fraction] | None = None,
    video_codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: tuple[float, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    audio: np.ndarray | None = None,
    sample_rate: int = 0,
    audio_codec: str = "aac",
    layout: str = "mono",
    audio_start: Fraction = Fraction(0),
) -> Path:
    """A file as other tools write it. times: begins of frames at a variable rate. rotation: (degrees, mirrored)."""
    with av.open(str(path), "w") as output:
        video = sound = None
        if frames is not None:
            video = output.add_stream(video_codec, Fraction(fps))
            video.height, video.width, video.pix_fmt = *frames.shape[1:3], pix_fmt
            video.codec_context.time_base = Fraction(1, 1000) if times else 1 / Fraction(fps)
            if pixel_aspect:
                video.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation:
                video.set_display_rotation(rotation[0], hflip=rotation[1])
        if audio is not None:
            sound = output.add_stream(audio_codec, sample_rate, layout=layout)
        if video:
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
                frame.time_base = video.codec_context.time_base
                frame.pts = round(times[index] * 1000) if times else index
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), "fltp", layout)
            frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
            frame.pts = round(audio_start * sample_rate)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def moving_clip(count: int = 9, height: int = 48, width: int = 64, fps: Fraction | int = 16, **kwargs) -> Clip:
    """A clip of our own: grey frames that tell their index, a tone of the same length."""
    sample_rate, channels = kwargs.pop("sample_rate", 16_000), kwargs.pop("channels", 1)
    audio = tone(count / fps, sample_rate, channels)
    return Clip(greys(count, height, width), Fraction(fps), audio, sample_rate, **kwargs)


@pytest.fixture
def make() -> type:
    """The makers above, where tests reach them (test folders are no packages)."""

    class Makers:
        pass

    for maker in (greys, indices, tone, encode, moving_clip):
        setattr(Makers, maker.__name__, staticmethod(maker))
    return Makers


@pytest.fixture
def spectrum_peak() -> Callable[[np.ndarray, int], float]:
    """Frequency in Hz of the loudest component of one channel (N,)."""
    return lambda channel, sample_rate: float(np.abs(np.fft.rfft(channel)).argmax() * sample_rate / len(channel))
