"""`Clip` -> files: H.264 + AAC, sound, pictures. The same clip always gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from openreels.media.atomic import atomic, try_folder
from openreels.media.audio import fit_length, resample
from openreels.media.clip import Clip
from openreels.media.error import MediaError
from openreels.media.picture import write_picture
from openreels.media.timing import samples_for

__all__ = ["FORMATS", "check_output", "write_clip"]

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
BT709, LIMITED_RANGE = 1, 1  # FFmpeg's numbers for the colour standard and for luma of 16-235
# For equal bytes: x264's output depends on the number of threads, which must not be the machine's; and its macroblock
# tree reads uninitialised memory at widths such as 86 and 96 (seen in x264 core 165), so two runs may differ by it.
VIDEO_OPTIONS = {"crf": "16", "preset": "medium", "threads": "4", "x264-params": "no-mbtree=1"}


def check_output(path: str | Path, *, video: bool, audio: bool, still: bool = False) -> None:
    """Raises MediaError where a clip of this kind cannot be saved as `path`: to be asked before hours of work.

    still: one frame without sound, which fits a picture file too.
    """
    path = Path(path)
    kind = "picture" if still else "video" if video else "sound"
    fitting = [suffix for suffix, format in FORMATS.items() if kind in format.holds]
    if path.suffix.lower() not in fitting:
        raise MediaError(f"{path} cannot hold a {kind}; accepted are names that end in {', '.join(fitting)}")
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; accepted is the name of a file")
        if not path.parent.is_dir():
            raise MediaError(f"{path} cannot be written: there is no folder {path.parent}")
        try_folder(path.parent)
    except OSError as error:
        raise MediaError(f"{path} cannot be written: {error.strerror.lower()}") from error


def write_clip(clip: Clip, path: str | Path) -> Path:
    """Write by extension (see `Clip.save`). Raises MediaError; a file of that name from before then stays as it was.

    Frames of odd size repeat their last row or column, since H.264 halves the colour planes. Sound is cut, or filled
    with silence, to the length of the video. A sample rate that the codec lacks becomes the next higher one it has.
    """
    path = Path(path)
    check_output(path, video=clip.frames is not None, audio=clip.audio is not None, still=clip.is_still)
    try:
        with atomic(path) as part:
            FORMATS[path.suffix.lower()].write(clip, part)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path} could not be written ({reason})") from error
    return path


def write_streams(clip: Clip, path: Path, container: str, audio_codec: str) -> None:
    """Encode and mux, sound beside picture frame by frame, so that a player never has to look far for either."""
    sound = None if clip.audio is None else Sound(clip, audio_codec)
    # fflags bitexact: no version of the muxer in the file, so equal clips are equal files.
    options = {"fflags": "+bitexact"}
    if container in ("mp4", "mov", "ipod"):
        # Tags of any name, the index in front; lengths counted in samples (or frames), for milliseconds would round.
        timescale = sound.rate if sound else clip.fps.numerator
        options |= {"movflags": "+faststart+use_metadata_tags", "movie_timescale": str(timescale)}

    with av.open(str(path.absolute()), "w", format=container, options=options) as output:
        output.metadata.update(clip.metadata)
        video = None if clip.frames is None else video_stream(output, clip)
        if sound:
            sound.join(output)
        for index, picture in enumerate(clip.frames if video else ()):
            output.mux(video.encode(video_frame(picture, index, clip.fps)))
            if sound:
                output.mux(sound.encode_until(samples_for(index + 1, clip.fps, sound.rate)))
        if video:
            output.mux(video.encode(None))
        if sound:
            output.mux(sound.encode_until(sound.samples.shape[1]))
            output.mux(sound.stream.encode(None))


def video_stream(output: OutputContainer, clip: Clip) -> VideoStream:
    stream = output.add_stream("libx264", clip.fps, VIDEO_OPTIONS)
    height, width = clip.frames.shape[1:3]
    stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream


def video_frame(picture: np.ndarray, index: int, fps: Fraction) -> av.VideoFrame:
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(even, "rgb24").reformat(
        format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE, interpolation="BICUBIC"
    )
    frame.pts, frame.time_base = index, 1 / fps
    return frame


class Sound:
    """A clip's waveform on its way into a file."""

    def __init__(self, clip: Clip, codec: str) -> None:
        channels = clip.audio.shape[0]
        accepted = (1, 2) if codec == "libmp3lame" else tuple(LAYOUTS)
        if channels not in accepted:
            raise ValueError(f"{channels} channels; accepted are {', '.join(map(str, accepted))}")
        rates = av.Codec(codec, "w").audio_rates
        self.codec, self.layout = codec, LAYOUTS[channels]
        self.rate = clip.sample_rate
        if rates and self.rate not in rates:
            self.rate = min((rate for rate in rates if rate >= self.rate), default=max(rates))
        self.samples = np.clip(resample(clip.audio, clip.sample_rate, self.rate), -1, 1)
        if clip.frames is not None:
            self.samples = fit_length(self.samples, samples_for(len(clip.frames), clip.fps, self.rate))
        self.done = 0
        self.stream: AudioStream

    def join(self, output: OutputContainer) -> None:
        # FFmpeg's default AAC coder starves the first block: a click of up to half the scale at the start of anything
        # that does not begin in silence. The "fast" coder at AAC's full rate (6 bits a sample) has no such burst.
        options = {"aac_coder": "fast"} if self.codec == "aac" else {}
        self.stream = output.add_stream(self.codec, self.rate, options, layout=self.layout)
        if self.codec == "aac":
            self.stream.bit_rate = 6 * self.rate * self.samples.shape[0]

    def encode_until(self, end: int) -> list[Packet]:
        """Encode samples up to `end`; codecs collect them into blocks of their own size."""
        if end == self.done:
            return []
        block = np.ascontiguousarray(self.samples[:, self.done : end])
        frame = av.AudioFrame.from_ndarray(block, "fltp", self.layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self.done, Fraction(1, self.rate)
        self.done = end
        return self.stream.encode(frame)


@dataclass(frozen=True)
class Format:
    """A file format: the kinds of clip it holds ("video", "sound", "picture") and the function that writes one."""

    holds: tuple[str, ...]
    write: Callable[[Clip, Path], None]


FORMATS = {
    ".mp4": Format(("video", "picture"), partial(write_streams, container="mp4", audio_codec="aac")),
    ".mov": Format(("video", "picture"), partial(write_streams, container="mov", audio_codec="aac")),
    ".wav": Format(("sound",), partial(write_streams, container="wav", audio_codec="pcm_s16le")),
    ".flac": Format(("sound",), partial(write_streams, container="flac", audio_codec="flac")),
    ".mp3": Format(("sound",), partial(write_streams, container="mp3", audio_codec="libmp3lame")),
    ".m4a": Format(("sound",), partial(write_streams, container="ipod", audio_codec="aac")),
    ".png": Format(("picture",), partial(write_picture, format="PNG")),
    ".jpg": Format(("picture",), partial(write_picture, format="JPEG")),
    ".jpeg": Format(("picture",), partial(write_picture, format="JPEG")),
    ".webp": Format(("picture",), partial(write_picture, format="WEBP")),
}
