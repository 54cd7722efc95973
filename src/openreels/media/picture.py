"""Still pictures and animated GIF, WebP and PNG, through Pillow."""

from __future__ import annotations

import json
import warnings
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, PngImagePlugin

from openreels.media.clip import Clip
from openreels.media.error import MediaError
from openreels.media.limits import LIMITS
from openreels.media.timing import exact, nearest_frames, tidy_rate

__all__ = ["open_picture", "picture_metadata", "read_picture", "write_picture"]

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # a phone's MPO opens as JPEG
ANIMATED = ("GIF", "WEBP", "PNG")  # an MPO's or TIFF's further pictures are not a film
EXIF_DESCRIPTION = 0x010E


def open_picture(path: Path) -> Image.Image | None:
    """The picture in a file, by its content; None where Pillow knows nothing of it. Decodes no pixels yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `Limits` says it as an error, with reason
            return Image.open(path, formats=READABLE)
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path} is too large a picture; accepted are up to {LIMITS.side:,} pixels a side") from error
    except Image.UnidentifiedImageError:
        return None


def frame_count(picture: Image.Image) -> int:
    if picture.format not in ANIMATED:
        return 1
    return getattr(picture, "n_frames", 1) - is_poster(picture)


def is_poster(picture: Image.Image) -> bool:
    """Whether the first picture of an animated PNG is there only for programs that cannot play the rest."""
    return bool(getattr(picture, "default_image", False))


def read_picture(picture: Image.Image) -> Clip:
    """A still becomes a clip of one frame at 1 fps; an animation gets a constant rate.

    The EXIF orientation is applied. Transparent parts are white, as on most pages.
    """
    metadata = picture_metadata(picture)
    if frame_count(picture) == 1:
        return Clip(rgb(picture)[None], Fraction(1), metadata=metadata)
    frames, delays = [], []
    for frame in islice(ImageSequence.Iterator(picture), int(is_poster(picture)), None):
        frames.append(rgb(frame))
        # Browsers take "no delay" for a tenth of a second.
        delays.append((exact(frame.info.get("duration", 0)) or 100) / 1000)
    *times, end = accumulate(delays, initial=Fraction(0))
    fps = tidy_rate(len(frames) / end)
    return Clip(np.stack([frames[index] for index in nearest_frames(times, end, fps)]), fps, metadata=metadata)


def rgb(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8, upright."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode == "F" or (upright.mode == "I" and picture.format == "TIFF"):
        raise ValueError("32 bits per channel; save it with 8 or 16")
    if upright.mode.startswith("I"):  # 16 bit grey: Pillow's own conversion would clip it to white
        return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return np.asarray(upright.convert("RGB"))


def write_picture(clip: Clip, path: Path, format: str) -> None:
    """The clip's one frame. JPEG at quality 95 without chroma loss; PNG and WebP lossless."""
    picture = Image.fromarray(clip.frames[0])
    if format == "PNG":
        tags = PngImagePlugin.PngInfo()
        for key, text in clip.metadata.items():
            tags.add_itxt(key, text)
        picture.save(path, format, pnginfo=tags)
        return
    exif = Image.Exif()
    if clip.metadata:
        exif[EXIF_DESCRIPTION] = json.dumps(dict(clip.metadata))  # one tag has to hold them all, in ASCII
    settings = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}[format]
    picture.save(path, format, exif=exif, **settings)


def picture_metadata(picture: Image.Image) -> dict[str, str]:
    """PNG's own text, or the description of a JPEG or WebP: ours is JSON, anybody else's becomes "description"."""
    if picture.format == "PNG":
        return {key: str(text) for key, text in picture.info.items() if isinstance(text, str)}
    description = picture.getexif().get(EXIF_DESCRIPTION)
    if not description:
        return {}
    try:
        return {str(key): str(text) for key, text in json.loads(description).items()}
    except (ValueError, AttributeError):
        return {"description": str(description)}
