"""Files -> `Clip`: pictures through Pillow, everything else through PyAV."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from openreels.media.clip import Clip
from openreels.media.error import MediaError
from openreels.media.limits import LIMITS, Limits
from openreels.media.picture import read_picture
from openreels.media.probe import Facts, facts, open_media, sound_stream, video_stream
from openreels.media.timing import frames_for, nearest, nearest_frames, tidy_rate

__all__ = ["read_clip", "read_sound"]

# Containers that count in milliseconds place sound up to half of one off; only a larger hole is a silence.
GAP_SECONDS = Fraction(1, 20)
# Codecs fill their last block up. More than two of the largest blocks beyond the stated end are sound, not padding.
PADDING_SAMPLES = 4096
# A file that breaks off this long before its stated end was cut in copying.
TRUNCATION_SECONDS = Fraction(1, 2)

# A camera that drops one frame in ten still has the rate that it says; a rate much too high for its frames is a guess.
MOSTLY = Fraction(9, 10)


def read_clip(path: str | Path, limits: Limits = LIMITS) -> Clip:
    """Read a file whole: frames upright, with square pixels, at a constant rate; sound at its own rate, channels kept.

    Rotation and mirroring by metadata are applied. A variable frame rate becomes its average, each tick showing the
    frame nearest in time. Sound is shifted to start with the first frame and freed of its codec's padding.
    Raises MediaError, before decoding where the header already breaks a limit.
    """
    path = Path(path)
    with open_media(path) as media:
        stated = facts(media)
        check_header(path, stated, limits)
        return read_picture(media) if isinstance(media, Image.Image) else decode(media, path, stated, limits)


def read_sound(path: str | Path, limits: Limits = LIMITS) -> Clip:
    """The sound of a file as `read_clip` gives it, without its pictures, whose limits do not count then.

    Raises MediaError, also where there is no sound.
    """
    path = Path(path)
    with open_media(path) as media:
        stated = facts(media)
        if stated.audio is None:
            raise MediaError(f"{path} has no sound")
        check_header(path, replace(stated, video=None), limits)
        return decode(media, path, stated, limits, pictures=False)


def check_header(path: Path, stated: Facts, limits: Limits) -> None:
    video, audio = stated.video, stated.audio
    size = 0
    if video:
        limits.check(path, height=video.height, width=video.width, seconds=video.seconds)
        size += max(1, video.frames) * video.height * video.width * 3
    if audio:
        limits.check(path, seconds=audio.seconds)
        size += round(audio.seconds * audio.sample_rate) * audio.channels * 4
    limits.check(path, bytes=size)


def decode(container: InputContainer, path: Path, stated: Facts, limits: Limits, pictures: bool = True) -> Clip:
    video, sound = video_stream(container), sound_stream(container)
    film, soundtrack = Film(video), Soundtrack(sound)
    for frame in container.decode([stream for stream in (video if pictures else None, sound) if stream]):
        (film if isinstance(frame, av.VideoFrame) else soundtrack).add(frame)
        limits.check(path, bytes=film.bytes + soundtrack.bytes)  # a header may lie

    if not film.frames and not soundtrack.blocks:
        raise MediaError(f"{path} is damaged: its header is whole, but nothing in it can be decoded")
    fewer = pictures and video and video.frames > len(film.frames)
    if fewer and film.end + TRUNCATION_SECONDS < (stated_end(video) or 0):
        raise MediaError(
            f"{path} is damaged: it breaks off after {float(film.end):.1f} of {stated.video.seconds:.1f} s"
        )

    frames, fps = film.at_constant_rate() if film.frames else (None, Fraction(0))
    if not soundtrack.blocks:
        return Clip(frames, fps, metadata=stated.metadata)
    origin = film.times[0] if film.frames else soundtrack.start
    if not pictures and video and video.start_time is not None:
        origin = video.start_time * video.time_base  # the sound keeps its place under the pictures
    limits.check(path, seconds=float(abs(soundtrack.start - origin)))
    audio = soundtrack.joined(origin)
    if not audio.shape[1]:  # all of it was before the first picture
        return Clip(frames, fps, metadata=stated.metadata)
    return Clip(frames, fps, audio, soundtrack.rate, stated.metadata)


def stated_end(stream: VideoStream | AudioStream) -> Fraction | None:
    """When a stream ends, in seconds, if its header knows."""
    return ((stream.start_time or 0) + stream.duration) * stream.time_base if stream.duration else None


class Film:
    """Decoded pictures (H, W, 3) and the second at which each begins."""

    def __init__(self, stream: VideoStream | None) -> None:
        self.stream = stream
        self.frames: list[np.ndarray] = []
        self.times: list[Fraction] = []
        self.ordered = True  # whether the times that the file tells never run backwards
        self.told = Fraction(0)  # the last of them
        self.end = Fraction(0)
        self.bytes = 0
        if stream:
            stream.thread_type = "AUTO"

    def add(self, frame: av.VideoFrame) -> None:
        if not self.frames:  # a size that changes under way is scaled to the first one
            self.height, self.width = frame.height, nearest(frame.width * (self.stream.sample_aspect_ratio or 1))
        picture = frame.to_ndarray(format="rgb24", width=self.width, height=self.height)
        begin = self.end if frame.pts is None else frame.pts * frame.time_base
        self.ordered &= not self.frames or begin >= self.told
        self.told = begin
        self.frames.append(upright(picture, frame.side_data.get("DISPLAYMATRIX")))
        self.times.append(max(begin, self.times[-1]) if self.times else begin)
        self.end = self.times[-1] + (frame.duration or 0) * frame.time_base
        self.bytes += picture.nbytes

    def at_constant_rate(self) -> tuple[np.ndarray, Fraction]:
        """(T, H, W, 3) uint8 and its rate: the header's if they fit it but for a few drops, else their average."""
        count, rate = len(self.frames), self.stream.guessed_rate or Fraction(25)
        if self.end <= self.times[-1]:  # the last frame's own duration is unknown: take the mean
            self.end = self.times[-1] + ((self.times[-1] - self.times[0]) / max(count - 1, 1) or 1 / rate)
        length = self.end - self.times[0]
        if not self.ordered:  # AVI: the pictures come in order, and their times are guesses
            self.times = [self.times[0] + length * index / count for index in range(count)]
        fits = count >= MOSTLY * frames_for(length, rate)
        picks = nearest_frames(self.times, self.end, rate) if fits else []
        if len(set(picks)) < count:
            rate = tidy_rate(count / length)
            picks = nearest_frames(self.times, self.end, rate)
        return np.stack([self.frames[index] for index in picks]), rate


def upright(picture: np.ndarray, display_matrix: object | None) -> np.ndarray:
    """A picture as its container wants it shown: turned by quarters, mirrored, or both.

    The matrix (3 x 3, fixed point) takes a column p to a*p + c*q and a row q to b*p + d*q; translation is of no matter.
    """
    if display_matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(display_matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Soundtrack:
    """Decoded blocks of sound (C, n), one after the other from second `start` on; holes are blocks of silence."""

    def __init__(self, stream: AudioStream | None) -> None:
        self.stream = stream
        self.to_float = av.AudioResampler(format="fltp")  # the sample format only: rate and channels stay
        self.blocks: list[np.ndarray] = []
        self.start = Fraction(0)
        self.rate = 0
        self.length = 0
        self.bytes = 0

    def add(self, frame: av.AudioFrame) -> None:
        if not self.blocks:
            self.rate = frame.sample_rate
            self.start = Fraction(0) if frame.pts is None else frame.pts * frame.time_base
        hole = 0
        if frame.pts is not None:
            hole = nearest((frame.pts * frame.time_base - self.start) * self.rate) - self.length
        blocks = [block.to_ndarray() for block in self.to_float.resample(frame)]
        if blocks and hole > GAP_SECONDS * self.rate:
            blocks.insert(0, np.zeros((blocks[0].shape[0], hole), np.float32))
        self.blocks += blocks
        self.length += sum(block.shape[1] for block in blocks)
        self.bytes += sum(block.nbytes for block in blocks)

    def joined(self, origin: Fraction) -> np.ndarray:
        """(C, N) float32 in [-1, 1] that starts at second `origin`."""
        audio = np.concatenate(self.blocks, axis=1)
        if (stated := stated_end(self.stream)) is not None:
            padding = self.length - nearest((stated - self.start) * self.rate)
            if 0 < padding <= min(PADDING_SAMPLES, self.length - 1):
                audio = audio[:, :-padding]
        lead = nearest((self.start - origin) * self.rate)
        audio = np.pad(audio, ((0, 0), (lead, 0))) if lead > 0 else audio[:, -lead:]
        return np.clip(audio, -1, 1)  # lossy decoders overshoot; a player clips as well
