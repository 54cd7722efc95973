"""What requests are made of. Times are seconds; places are fractions of a picture's width and height from its top left.

Each part names files by path. What is in a file (a picture, a clip, a sound) is seen when it is read.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

__all__ = [
    "Aspect",
    "Box",
    "File",
    "KeyFrame",
    "Mask",
    "Modality",
    "Part",
    "Reference",
    "Seconds",
    "SoundKind",
    "Speaker",
    "Transition",
    "Use",
]

Aspect = Literal["16:9", "4:3", "1:1", "3:4", "9:16"]
Modality = Literal["video+audio", "video", "audio", "image"]
Transition = Literal["none", "cut-in", "cut-out", "multi-angle", "shot-reverse-shot", "cut-away", "auto"]
Use = Literal["extend", "edit", "sound"]
SoundKind = Literal["speech", "effects", "music"]

File = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]  # a path
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]  # of a picture's width or height
Seconds = Annotated[float, Field(ge=0, le=200, allow_inf_nan=False)]
Box = tuple[Share, Share, Share, Share]  # left, top, right, bottom
Point = Annotated[tuple[Share, Share], Field(strict=False)]  # x, y
Tag = Annotated[str, StringConstraints(pattern=r"^\w+(-\w+)*$", max_length=40)]


class Part(BaseModel):
    """Immutable, strict (no "2" for 2), unknown fields refused; JSON both ways."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Reference(Part):
    """Somebody or something that should appear or be heard: a picture, a clip or a sound. tag: "@tag" in the prompt."""

    tag: Tag
    path: File


class KeyFrame(Part):
    """A picture that the video shows at a time. at: seconds, "first", "last", or "auto": spread evenly between the
    others."""

    path: File
    at: Seconds | Literal["first", "last", "auto"] = "auto"


class Mask(Part):
    """What of a clip is made anew: white in a picture or a mask video, inside a box or inside a polygon.

    box: left, top, right, bottom. polygon: its corners (x, y). invert: all but that. As `media.masks` reads it.
    """

    path: File | None = None
    box: Box | None = Field(None, strict=False)
    polygon: tuple[Point, ...] | None = Field(None, min_length=3, max_length=1_000, strict=False)
    invert: bool = False

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        given = [name for name in ("path", "box", "polygon") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a mask is a path, a box or a polygon, exactly one of them, not {' and '.join(given) or 'none'}"
            )
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (left < right and top < bottom):
                raise ValueError(f"the box of a mask is left, top, right, bottom with left < right and top < bottom, "
                                 f"not {left:g}, {top:g}, {right:g}, {bottom:g}")  # fmt: skip
        return self


class Speaker(Part):
    """One of the people who speak.

    audio: what they say. voice: a sound of how they speak, where what they say stands in the prompt.
    Which face is theirs: tag, of the reference that shows them; region (left, top, right, bottom) of the portrait; or
    mask, a picture of the portrait's size, white where they are.
    """

    audio: File | None = None
    voice: File | None = None
    tag: Tag | None = None
    region: Box | None = Field(None, strict=False)
    mask: File | None = None
