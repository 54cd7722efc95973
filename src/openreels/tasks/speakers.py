"""Who speaks: which face is whose, in the words by which models tell faces apart.

A face is a reference, called by its tag, or a place in the portrait: on the left, in the middle, on the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openreels.media.masks import WHITE_FROM
from openreels.request import Request, RequestError, Speaker
from openreels.tasks.window import Read
from openreels.tasks.wording import named_place

__all__ = ["faces_of"]

SIDES = {2: ("left", "right"), 3: ("left", "middle", "right")}  # of so many beside each other


def faces_of(request: Request, tags: Mapping[str, str], read: Read) -> list[str | None]:
    """What the prompt calls the face of each speaker; None where nothing says whose it is.

    tags: the user's -> the model's. Raises RequestError for a mask that does not fit the portrait, and for faces that
    words do not tell apart.
    """
    middles = {
        index: middle_of(request, speaker, read)
        for index, speaker in enumerate(request.speakers)
        if speaker.region is not None or speaker.mask is not None
    }
    sides = dict(zip(sorted(middles, key=middles.get), sides_of(list(middles.values())), strict=True))
    faces = []
    for index, speaker in enumerate(request.speakers):
        if index in sides:
            faces.append(named_place(request.prompt, sides[index]))
        else:
            faces.append(None if speaker.tag is None else f"@{tags[speaker.tag]}")
    return faces


def sides_of(middles: Sequence[float]) -> Sequence[str]:
    """From left to right. middles: of the faces, as shares of the portrait's width."""
    if len(middles) == 1:
        return ("left" if middles[0] < 0.5 else "right",)
    if middles and (len(middles) not in SIDES or len(set(middles)) < len(middles)):
        raise RequestError("speakers with a region or a mask must stand beside each other, up to three of them; "
                           "accepted for others is a tag")  # fmt: skip
    return SIDES[len(middles)] if middles else ()


def middle_of(request: Request, speaker: Speaker, read: Read) -> float:
    """Of a speaker's place, from the left, as a share of the portrait's width."""
    if speaker.region is not None:
        return (speaker.region[0] + speaker.region[2]) / 2
    mask, portrait = (frame_of(read, path) for path in (speaker.mask, request.image))
    height, width = portrait.shape[:2]
    if mask.shape[:2] != (height, width):
        raise RequestError(f"the mask {speaker.mask} is {mask.shape[1]} x {mask.shape[0]} pixels; the portrait has "
                           f"{width} x {height}")  # fmt: skip
    columns = (mask.mean(axis=2) >= WHITE_FROM).sum(axis=0)
    if not columns.any():
        raise RequestError(f"the mask {speaker.mask} is empty; it must be white where the speaker is")
    if (columns == height).all():
        raise RequestError(f"the mask {speaker.mask} is white everywhere (transparent parts count as white); it must "
                           f"be white where the speaker is alone")  # fmt: skip
    return float(np.average(np.arange(width) + 0.5, weights=columns) / width)


def frame_of(read: Read, path: str) -> np.ndarray:
    clip = read(path)
    if clip.frames is None:
        raise RequestError(f"portraits and masks must be pictures, and {path} is a sound alone")
    return clip.frames[0]
