"""Opening a media file safely, and what its header says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from openreels.media.error import MediaError
from openreels.media.picture import frame_count, open_picture, picture_metadata

__all__ = ["AudioTrack", "Facts", "VideoTrack", "facts", "open_media", "probe", "sound_stream", "video_stream"]

ACCEPTED = "accepted are mp4, mov, webm, mkv, gif, png, jpg, webp, wav, mp3, flac, m4a and ogg"

# Plain containers only: FFmpeg also reads playlists, which fetch other files and addresses, and renders any text file
# as the film of a terminal.
CONTAINERS = "mov,matroska,webm,avi,mpegts,wav,mp3,flac,ogg,aac,aiff"
CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # about the file, not the clip


@dataclass(frozen=True)
class VideoTrack:
    """height, width: coded pixels, before any rotation. fps: exact. frames, seconds: 0 if the header is silent."""

    codec: str
    height: int
    width: int
    fps: Fraction
    frames: int
    seconds: float


@dataclass(frozen=True)
class AudioTrack:
    """sample_rate: Hz. seconds: 0 if the header is silent."""

    codec: str
    channels: int
    sample_rate: int
    seconds: float


@dataclass(frozen=True)
class Facts:
    """What a header says. container: "mov", "png" ... video, audio: the first of each. metadata: lower-case keys."""

    container: str
    video: VideoTrack | None
    audio: AudioTrack | None
    metadata: Mapping[str, str] = field(default_factory=dict)


def probe(path: str | Path) -> Facts:
    """What the header of a file says; decodes nothing. Raises MediaError."""
    with open_media(Path(path)) as media:
        return facts(media)


@contextmanager
def open_media(path: Path) -> Iterator[Image.Image | InputContainer]:
    """Open a picture (Pillow's image) or any other file (PyAV's container), by content, whatever its name.

    Raises MediaError, also in place of whatever is raised inside the block.
    """
    try:
        if not path.exists():
            raise MediaError(f"{path} does not exist")
        if not path.is_file():
            raise MediaError(f"{path} is {'a folder' if path.is_dir() else 'not a regular file'}; {ACCEPTED}")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty; {ACCEPTED}")
        with open_picture(path) or open_container(path) as media:
            if isinstance(media, InputContainer):
                if not (video_stream(media) or sound_stream(media)):
                    raise MediaError(f"{path} holds neither video nor sound; {ACCEPTED}")
                if any(stream.disposition & stream.disposition.dependent for stream in media.streams.video):
                    raise MediaError(f"{path} is a picture stored in tiles, as phones write HEIC; {ACCEPTED}")
            yield media
    except MediaError:
        raise
    except PermissionError as error:
        raise MediaError(f"{path} cannot be read: permission denied") from error
    except Exception as error:  # decoders that meet hostile bytes raise whatever they like
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(f"{path} is damaged or not media ({reason.rstrip('.')}); {ACCEPTED}") from error


def open_container(path: Path) -> InputContainer:
    # Absolute, because FFmpeg takes "a:b.mp4" for a protocol; and only its "file" protocol, so that nothing is fetched.
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return av.open(str(path.absolute()), container_options=options, metadata_errors="replace")


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not a sound file's cover picture."""
    films = (stream for stream in container.streams.video if not stream.disposition & stream.disposition.attached_pic)
    return next(films, None)


def sound_stream(container: InputContainer) -> AudioStream | None:
    return next(iter(container.streams.audio), None)


def facts(media: Image.Image | InputContainer) -> Facts:
    if isinstance(media, Image.Image):
        name, frames = media.format.lower().replace("mpo", "jpeg"), frame_count(media)
        track = VideoTrack(name, media.height, media.width, Fraction(1), frames, 0.0)
        return Facts(name, track, None, picture_metadata(media))

    video, audio = video_stream(media), sound_stream(media)
    video_track = audio_track = None
    if video:
        fps = video.guessed_rate or video.average_rate or Fraction(0)
        seconds = stream_seconds(video)
        # A guessed rate may be that of the container's clock: it would count a frame for every millisecond.
        frames = video.frames or round(seconds * (video.average_rate or 0))
        video_track = VideoTrack(video.codec_context.name, video.height, video.width, fps, frames, seconds)
    if audio:
        audio_track = AudioTrack(audio.codec_context.name, audio.channels, audio.rate, stream_seconds(audio))
    metadata = {key.lower(): text for key, text in media.metadata.items() if key.lower() not in CONTAINER_TAGS}
    return Facts(media.format.name.split(",")[0], video_track, audio_track, metadata)


def stream_seconds(stream: VideoStream | AudioStream) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (stream.container.duration or 0) / av.time_base
