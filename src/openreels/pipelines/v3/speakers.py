"""The people of a portrait: what each says, and where each is.

Legend: C channels, N samples, H W pixels, P speakers, M = P + 1 masks, the background last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openreels.media import Clip
from openreels.media.read import read_sound
from openreels.pipelines.v3.audio import Speech, speech_of
from openreels.pipelines.v3.images import Canvas, opened
from openreels.pipelines.v3.sizes import Size
from openreels.request import Request, RequestError

__all__ = ["Speaker", "check_masks", "masks_of", "speakers_in", "speakers_of"]

PATCH = 16  # pixels of a token, each way


@dataclass(frozen=True, eq=False)
class Speaker:
    """One of several people in a portrait.

    audio: what they say: a clip with sound, a file, or samples (N,) or (C, N) at `sample_rate`. start: second of the
    video at which it begins; before and after it they are silent. Where they are, one of:
    region: (left, top, right, bottom) as fractions of the portrait's width and height from its top left;
    mask: of the portrait's size, a Pillow image or an (H, W) array: true, 0.5 or more, or 128 or more where they are.
    """

    audio: Clip | np.ndarray | Tensor | str | Path
    sample_rate: int | None = None
    region: tuple[float, float, float, float] | None = None
    mask: np.ndarray | Tensor | Image.Image | None = None
    start: float = 0.0

    def speech(self, name: str) -> Speech:
        audio = read_sound(self.audio) if isinstance(self.audio, str | Path) else self.audio
        return speech_of(audio, self.sample_rate, self.start, name)


def speakers_of(audio: object, sample_rate: int | None) -> list[Speaker]:
    """One speaker of a sound, or those of a list. Raises ValueError where the list is empty or holds anything else."""
    if isinstance(audio, Speaker):
        return [audio]
    if isinstance(audio, list | tuple):
        if not audio or not all(isinstance(each, Speaker) for each in audio):
            raise RequestError("audio must be one sound, or a list of Speaker(audio, region=...), one for each person")
        return list(audio)
    return [Speaker(audio, sample_rate)]


def speakers_in(request: Request) -> list[Speaker]:
    """Those of a request, their masks read. Raises RequestError for a mask that is no picture, or a damaged one."""
    speakers = []
    for number, speaker in enumerate(request.speakers, 1):
        mask = None
        if speaker.mask is not None:
            with opened(speaker.mask, f"the mask of speaker {number}") as picture:
                mask = picture.convert("L")
        speakers.append(Speaker(speaker.audio, region=speaker.region, mask=mask))
    return speakers


def masks_of(speakers: Sequence[Speaker], size: Size) -> Tensor | None:
    """(M, H, W) of 0 and 1 over a portrait of this size; None for a single speaker, who may be anywhere.

    Where nobody's place is given, they stand side by side in equal strips, the first on the left.
    Raises ValueError: a place for some only, two places for one, a region or mask that does not fit.
    """
    if len(speakers) == 1:
        return None
    placed = [speaker.region is not None or speaker.mask is not None for speaker in speakers]
    if any(placed) and not all(placed):
        raise RequestError(f"speaker {placed.index(False) + 1} needs a region or a mask, as the others have")
    masks = [
        mask_of(speaker, f"speaker {index}", size) if all(placed) else strip(index - 1, len(speakers), size)
        for index, speaker in enumerate(speakers, start=1)
    ]
    masks_PHW = torch.stack(masks)
    return torch.cat([masks_PHW, 1 - masks_PHW.amax(dim=0, keepdim=True)])


def strip(index: int, count: int, size: Size) -> Tensor:
    height, width = size
    mask_HW = torch.zeros(height, width)
    mask_HW[:, index * width // count : (index + 1) * width // count] = 1
    return mask_HW


def mask_of(speaker: Speaker, name: str, size: Size) -> Tensor:
    if speaker.region is not None and speaker.mask is not None:
        raise RequestError(f"{name} needs a region or a mask, not both")
    return region_mask(speaker.region, name, size) if speaker.mask is None else drawn_mask(speaker.mask, name, size)


def region_mask(region: tuple[float, float, float, float], name: str, size: Size) -> Tensor:
    height, width = size
    numbers = [float(number) for number in region]
    if len(numbers) != 4 or not (0 <= numbers[0] < numbers[2] <= 1 and 0 <= numbers[1] < numbers[3] <= 1):
        raise RequestError(
            f"the region of {name} must be (left, top, right, bottom), fractions of the portrait from 0 to 1, "
            f"not {tuple(region)}"
        )
    left, top, right, bottom = (round(n * side) for n, side in zip(numbers, (width, height) * 2, strict=True))
    mask_HW = torch.zeros(height, width)
    mask_HW[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    return mask_HW


def drawn_mask(mask: np.ndarray | Tensor | Image.Image, name: str, size: Size) -> Tensor:
    values = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    if values.shape != tuple(size):
        given = " x ".join(map(str, values.shape[::-1]))
        raise RequestError(f"the mask of {name} is {given} pixels; the portrait has {size[1]} x {size[0]}")
    if values.dtype == bool:
        bright = values
    else:
        bright = values >= (0.5 if np.issubdtype(values.dtype, np.floating) else 128)
    if not bright.any():
        raise RequestError(f"the mask of {name} is empty; it must be bright where they are")
    return torch.from_numpy(bright.astype(np.float32))


def check_masks(masks_MHW: Tensor | None, canvas: Canvas) -> None:
    """Raises ValueError where nothing of a speaker is left on the canvas."""
    if masks_MHW is None:
        return
    seen = canvas.masks(masks_MHW, canvas.size[0] // PATCH, canvas.size[1] // PATCH).flatten(1).any(dim=1)
    for index, visible in enumerate(seen[:-1].tolist(), start=1):
        if not visible:
            raise RequestError(
                f"speaker {index} lies outside the picture at {canvas.size[1]} x {canvas.size[0]} pixels"
            )
