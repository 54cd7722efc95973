"""Pictures and frames on their way into the V3 models and out of them.

Every fitting keeps the aspect but `stretch`, which the official extension uses. Functions named in the official way
repeat its arithmetic, roundings included; the others are what the default mode uses instead.

Legend: B batch, C channels, T frames, H W pixels, M masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openreels.media import Clip
from openreels.media.picture import open_picture, rgb
from openreels.pipelines.v3.sizes import Size, exact_aspect
from openreels.request import RequestError

__all__ = [
    "Canvas",
    "Picture",
    "cover",
    "filled",
    "fit_frames",
    "frame_pixels",
    "frames_of",
    "letterbox",
    "official_picture",
    "opened",
    "pad_box",
    "picture_of",
    "pixels_of",
    "stretch",
    "to_uint8",
]

Picture = Image.Image | np.ndarray | Clip | str | Path
LANCZOS, BILINEAR = Image.Resampling.LANCZOS, Image.Resampling.BILINEAR
WHITE = (255, 255, 255)


# -- reading ----------------------------------------------------------------------------------------------------------


def picture_of(given: Picture, name: str = "picture") -> Image.Image:
    """An upright RGB picture: EXIF rotation applied, transparent parts white.

    given: a Pillow image, (H, W, 3) uint8, a clip of one frame, or a file. Raises ValueError: one sentence.
    """
    with opened(given, name) as picture:
        return Image.fromarray(rgb(picture))


def official_picture(given: Picture, name: str = "picture") -> Image.Image:
    """The same without a look at EXIF, and with transparency dropped: what `convert("RGB")` makes of it."""
    with opened(given, name) as picture:
        return picture.convert("RGB")


@contextmanager
def opened(given: Picture, name: str) -> Iterator[Image.Image]:
    """The picture as its file has it, read to the end. Raises RequestError for what is none, or is damaged."""
    if isinstance(given, Image.Image):
        yield given
        return
    if isinstance(given, str | Path):
        picture = open_picture(Path(given)) if Path(given).is_file() else None
        if picture is None:
            raise RequestError(f"{name} must be a picture file, and {given} is none")
        with picture:
            try:
                picture.load()
            except Exception as error:  # decoders that meet hostile bytes raise whatever they like
                raise RequestError(f"{name} {given} is damaged: {error or type(error).__name__}") from error
            yield picture
        return
    frame = given.frames[0] if isinstance(given, Clip) and given.is_still else given
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise RequestError(f"{name} must be a Pillow image, an (H, W, 3) uint8 array, a clip of one frame or a file")
    if 0 in frame.shape:
        raise RequestError(f"{name} has no pixels")
    yield Image.fromarray(frame)


# -- one picture to a size --------------------------------------------------------------------------------------------


def letterbox(picture: Image.Image, height: int, width: int, official: bool = False) -> Image.Image:
    """The whole picture, centred on white; an odd pixel goes to the right and below. Lanczos.

    official: sizes truncated, not rounded.
    """
    wide, tall = picture.size
    ratio = wide / tall
    if ratio > width / height:
        inner_width, inner_height = width, width / ratio
    else:
        inner_width, inner_height = height * ratio, height
    whole = int if official else round
    inner = picture.resize((max(1, whole(inner_width)), max(1, whole(inner_height))), LANCZOS)
    page = Image.new("RGB", (width, height), WHITE)
    page.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return page


def covering(tall: int, wide: int, height: int, width: int) -> Size:
    """The size of a tall x wide picture scaled to cover height x width."""
    scale = max(height / tall, width / wide)
    return ceil(scale * tall), ceil(scale * wide)


def cover(picture: Image.Image, height: int, width: int, resample: Image.Resampling = LANCZOS) -> Image.Image:
    """The picture's centre, large enough to fill the size.

    With `BILINEAR` this is the official avatar's fitting: sizes rounded up, the crop's corner rounded halves to even.
    """
    tall, wide = covering(picture.height, picture.width, height, width)
    larger = picture.resize((wide, tall), resample)
    left, top = round((larger.width - width) / 2), round((larger.height - height) / 2)
    return larger.crop((left, top, left + width, top + height))


def pixels_of(pictures: Sequence[Image.Image | np.ndarray]) -> Tensor:
    """Pictures of one size -> (1, 3, T, H, W) float32 in [-1, 1], rounded as the releases do for pictures."""
    return (planes_of(np.stack([np.asarray(picture) for picture in pictures])) / 255 - 0.5) * 2


def frame_pixels(frames_THWC: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 -> (1, 3, T, H, W) float32 in [-1, 1], rounded as the release does for clips.

    It differs from `pixels_of` in the last bit, which many passes of an untrained network make visible.
    """
    return planes_of(frames_THWC) / 127.5 - 1


def planes_of(frames_THWC: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (1, 3, T, H, W), the same numbers."""
    return torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(3, 0, 1, 2)[None].float()


# -- frames of a clip to a size ---------------------------------------------------------------------------------------


def stretch(frames_THWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """(T, H, W, 3) uint8 -> (T, height, width, 3): nearest neighbour, aspect lost. Only what official mode does."""
    planes = planes_of(frames_THWC)
    scaled = torch.nn.functional.interpolate(planes, size=(len(frames_THWC), height, width), mode="nearest")
    return scaled[0].permute(1, 2, 3, 0).to(torch.uint8).numpy()


def pad_box(tall: int, wide: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, inner height, inner width) of a tall x wide picture shown whole inside height x width.

    Inner sizes are even, so that the video cut out again can be coded.
    """
    scale = min(height / tall, width / wide)
    inner_height, inner_width = (
        min(limit, max(2, 2 * round(side * scale / 2))) for side, limit in ((tall, height), (wide, width))
    )
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


def fit_frames(frames_THWC: np.ndarray, height: int, width: int, fit: str = "crop") -> np.ndarray:
    """(T, H, W, 3) uint8 -> (T, height, width, 3), aspect kept, Lanczos.

    fit: "crop" fills the size and loses what overhangs; "pad" keeps everything and repeats the edges outwards.
    """
    tall, wide = frames_THWC.shape[1:3]
    if (tall, wide) == (height, width):
        return frames_THWC
    if fit == "crop":
        return np.stack([np.asarray(cover(Image.fromarray(frame), height, width)) for frame in frames_THWC])
    top, left, inner_height, inner_width = pad_box(tall, wide, height, width)
    inner = [np.asarray(Image.fromarray(frame).resize((inner_width, inner_height), LANCZOS)) for frame in frames_THWC]
    margins = ((top, height - inner_height - top), (left, width - inner_width - left), (0, 0))
    return np.pad(np.stack(inner), ((0, 0), *margins), mode="edge")


@dataclass(frozen=True)
class Canvas:
    """Where a picture lies on what the model draws, and which part of that is shown.

    size: what the model draws. fit: "crop" (the picture fills it and overhangs) or "pad" (all of it is on it).
    box: (top, left, height, width) of the part that is shown: without padding, at exactly the aspect asked for.
    """

    size: Size
    fit: str
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, picture: Size, size: Size, aspect: str | None = None, fit: str = "crop") -> Canvas:
        """Raises ValueError for an unknown fit, and for an aspect beside "pad", which keeps the picture's own."""
        if fit not in ("crop", "pad"):
            raise RequestError(f"fit must be crop or pad, not {fit!r}")
        if fit == "pad":
            if aspect is not None:
                raise RequestError("fit pad keeps the picture's own aspect: give either it or aspect")
            return cls(size, fit, pad_box(*picture, *size))
        height, width = exact_aspect(*size, aspect) if aspect else size
        return cls(size, fit, ((size[0] - height) // 2, (size[1] - width) // 2, height, width))

    def fitted(self, frames_THWC: np.ndarray) -> np.ndarray:
        """(T, H, W, 3) uint8 -> (T, *size, 3)."""
        return fit_frames(frames_THWC, *self.size, self.fit)

    def cut(self, frames_THWC: np.ndarray) -> np.ndarray:
        """(T, *size, 3) -> the part that is shown."""
        top, left, height, width = self.box
        return frames_THWC[:, top : top + height, left : left + width]

    def masks(self, masks_MHW: Tensor, rows: int, columns: int) -> Tensor:
        """Masks over the picture -> 0 or 1 (M, rows, columns) over the canvas; nearest neighbour throughout, as the
        official code treats its (unused) masks."""
        tall, wide = masks_MHW.shape[1:]
        height, width = self.size
        if self.fit == "pad":
            top, left, *inner = self.box
            scaled = scale_masks(masks_MHW, *inner)
            margins = (left, width - inner[1] - left, top, height - inner[0] - top)
            return scale_masks(torch.nn.functional.pad(scaled, margins), rows, columns)
        inner = covering(tall, wide, height, width)
        top, left = round((inner[0] - height) / 2), round((inner[1] - width) / 2)
        scaled = scale_masks(masks_MHW, *inner)
        return scale_masks(scaled[:, top : top + height, left : left + width], rows, columns)


def scale_masks(masks_MHW: Tensor, height: int, width: int) -> Tensor:
    scaled = torch.nn.functional.interpolate(masks_MHW[None].float(), size=(height, width), mode="nearest")
    return (scaled[0] > 0).float()


# -- out of the model -------------------------------------------------------------------------------------------------


def to_uint8(pixels_BCTHW: Tensor, truncate: bool = False) -> np.ndarray:
    """(B, 3, T, H, W) in [-1, 1] -> (B, T, H, W, 3) uint8. truncate: as the official extension and avatar round."""
    levels = (pixels_BCTHW.float() / 2 + 0.5).clamp(0, 1) * 255
    levels = levels if truncate else levels.round()
    return levels.to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()


def frames_of(parts: list[np.ndarray], picks: Sequence[int], canvas: Canvas | None = None) -> Iterator[np.ndarray]:
    """One frame (H, W, 3) after the other, by ascending numbers over all parts (T, H, W, 3) of a video; what `canvas`
    shows of it.

    Parts are taken out of the list as they are done with: written where they belong, a long video is in RAM once.
    """
    done = 0
    for pick in picks:
        while pick - done >= len(parts[0]):
            done += len(parts.pop(0))
        frame_1HWC = parts[0][pick - done : pick - done + 1]
        yield (frame_1HWC if canvas is None else canvas.cut(frame_1HWC))[0]


def filled(frames_THWC: np.ndarray, frames: Iterable[np.ndarray]) -> np.ndarray:
    """The array with frames (H, W, 3), as many as it has, in it."""
    for place_HWC, frame_HWC in zip(frames_THWC, frames, strict=True):
        place_HWC[:] = frame_HWC
    return frames_THWC
