"""Cases as they are put to a model: the request, the media it names, the true result, and what doing nothing gives.

Legend: T frames  H, W pixels  S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from openreels.media import Clip
from openreels.request import KeyFrame, Mask, Reference, Request
from openreels.world.examples import ROWS, Example, Shown, sample_example, show

__all__ = ["FPS", "FRAMES", "SIDE", "Case", "case_of", "held_frames", "kept_frames", "request_of"]

FPS, FRAMES, SIDE = 16, 33, 64
DURATION = FRAMES / FPS
OTHERS = 500_000  # added to a case's number: another case of the same row


@dataclass(frozen=True, eq=False)
class Case:
    """One case. number: what it was drawn from. request, media: what a model is asked, and the clips that stand for the
    files it names. target: the true result. nothing: what an answer without any work would be, see `_nothing`."""

    number: int
    example: Example
    request: Request
    media: dict[str, Clip]
    target: Clip
    nothing: Clip


def _clip(frames: Tensor | None, audio: Tensor | None, shown: Shown) -> Clip:
    fps = Fraction(shown.fps) if frames is not None else Fraction(0)
    return Clip(
        None if frames is None else frames.numpy(),
        fps,
        None if audio is None else audio[None].numpy(),
        0 if audio is None else shown.sample_rate,
    )


# -- the request ------------------------------------------------------------------------------------------------------


def kept_frames(example: Example, frames: int, fps: float) -> list[int]:
    """Indices of the frames that are handed over whole."""
    return [t for t in range(frames) if any(start - 1e-6 <= t / fps < end - 1e-6 for start, end in example.kept)]


def held_frames(example: Example, frames: int, fps: float) -> list[int]:
    """For each frame the last kept one up to it, or the first of all."""
    kept = kept_frames(example, frames, fps)
    return [max((k for k in kept if k <= t), default=kept[0]) for t in range(frames)]


def _held(example: Example, shown: Shown) -> Tensor:
    return shown.frames[held_frames(example, len(shown.frames), shown.fps)]


def _kept_sound(shown: Shown) -> Tensor:
    """Silence where the frames are not kept."""
    keep_T = shown.keep.flatten(1).all(1)
    times_S = torch.arange(len(shown.audio)) * shown.fps / shown.sample_rate
    return shown.audio * keep_T[times_S.long().clamp(max=len(keep_T) - 1)]


def _moment(frame: int, frames: int) -> str | float:
    return "first" if frame == 0 else "last" if frame == frames - 1 else frame / FPS


def _of_frames(example: Example, shown: Shown, fields: dict[str, Any], media: dict[str, Clip]) -> None:
    """Key frames, a clip that goes on, or a span of a clip that is made again."""
    frames = len(shown.frames)
    kept = kept_frames(example, frames, shown.fps)
    group = ROWS[example.row].group
    if group == "extension":
        count = len(kept)
        media["source"] = _clip(shown.frames[:count], shown.audio[: count * shown.sample_rate // FPS], shown)
        fields |= {"video": "source", "use": "extend", "duration": (frames - count) / FPS}
        if example.row != "extension":
            fields["transition"] = example.row.removeprefix("extension-")
    elif example.row == "retake":
        first = next(t for t in range(frames) if t not in kept)
        last = max(t for t in range(frames) if t not in kept)
        media["source"] = _clip(_held(example, shown), _kept_sound(shown), shown)
        del fields["duration"]
        fields |= {"video": "source", "use": "edit", "span": (first / FPS, (last + 1) / FPS)}
    else:
        for frame in kept:
            media[f"frame_{frame}"] = _clip(shown.frames[frame : frame + 1], None, shown)
        fields["keyframes"] = tuple(KeyFrame(path=f"frame_{t}", at=_moment(t, frames)) for t in kept)


def _of_source(shown: Shown, fields: dict[str, Any], media: dict[str, Clip]) -> None:
    media["source"] = _clip(shown.source_frames, shown.source_audio, shown)
    del fields["duration"]
    fields |= {"video": "source", "use": "edit"}
    if shown.regenerate is not None:
        white = shown.regenerate[..., None].expand(-1, -1, -1, 3).to(torch.uint8) * 255
        media["mask"] = _clip(white.contiguous(), None, shown)
        fields["masks"] = (Mask(path="mask"),)


def request_of(example: Example, shown: Shown, **wishes: Any) -> tuple[Request, dict[str, Clip]]:
    """How a case is asked of a model, and the clips that stand for the files it names.

    wishes: further fields of the request, such as seed and steps. A retake is given its clip with the span frozen.
    """
    row = ROWS[example.row]
    modality = "image" if row.still else "video+audio" if row.has_picture else "audio"
    fields: dict[str, Any] = {"prompt": example.prompt, "modality": modality, "duration": DURATION, **wishes}
    if row.still:
        del fields["duration"]
    media: dict[str, Clip] = {}
    if example.source is not None:
        _of_source(shown, fields, media)
    elif example.kept:
        _of_frames(example, shown, fields, media)
    elif example.given == "sound":
        media["sound"] = _clip(None, shown.audio, shown)
        del fields["duration"]
        fields["audio"] = "sound"
    elif example.given == "picture":
        media["source"] = _clip(shown.frames, None, shown)
        del fields["duration"]
        fields |= {"video": "source", "use": "sound"}
    references = []
    for reference, content in zip(example.references, shown.references, strict=True):
        heard = reference.kind == "audio"
        media[reference.tag] = _clip(None if heard else content, content if heard else None, shown)
        references.append(Reference(tag=reference.tag, path=reference.tag))
    if references:
        fields["references"] = tuple(references)
    return Request(**fields), media


# -- doing nothing ----------------------------------------------------------------------------------------------------


def _nothing(example: Example, shown: Shown, other: Shown) -> Clip:
    """An edit's source; the first picture of the references as a still; the last kept frame held; silence for what is
    only heard; for all else the true result of another case. With the sound that was given, and else silence."""
    row = ROWS[example.row]
    silence = None if shown.audio is None else torch.zeros_like(shown.audio)
    pictures = [
        content for reference, content in zip(example.references, shown.references, strict=True)
        if reference.kind == "image"
    ]  # fmt: skip
    if example.source is not None:
        return _clip(shown.source_frames, shown.source_audio, shown)
    if example.kept:
        return _clip(_held(example, shown), _kept_sound(shown), shown)
    if pictures:
        return _clip(pictures[0].expand(len(shown.frames), -1, -1, -1).contiguous(), silence, shown)
    if example.given == "sound":
        return _clip(other.frames, shown.audio, shown)
    if example.given == "picture" or not row.has_picture or example.row in _HEARD:
        return _clip(shown.frames, silence, shown)
    return _clip(other.frames, other.audio, shown)


_HEARD = ("voice-reference", "music-reference", "sounds-switched")  # rows that are about their sound alone


# -- cases ------------------------------------------------------------------------------------------------------------


def case_of(row: str, number: int, steps: int | None = None) -> Case:
    """A held-out case of a row, a function of the arguments alone. Raises ValueError for a row that is not there."""
    size: dict[str, int] = {"frames": FRAMES, "height": SIDE, "width": SIDE}
    example = sample_example(row, number, split="held_out")
    shown = show(example, **size)
    other = show(sample_example(row, number + OTHERS, split="held_out"), **size)
    request, media = request_of(example, shown, seed=number, steps=steps)
    # Files of different cases must have different names where many are asked at once.
    names = {path: f"{row} {number} {path}" for path in media}
    return Case(
        number,
        example,
        _renamed(request, names),
        {names[path]: clip for path, clip in media.items()},
        _clip(shown.frames, shown.audio, shown),
        _nothing(example, shown, other),
    )


def _renamed(request: Request, names: dict[str, str]) -> Request:
    """With other paths for its files."""

    def renamed(part: Any) -> Any:
        return part if part.path is None else part.model_copy(update={"path": names[part.path]})

    changes: dict[str, Any] = {
        name: tuple(renamed(part) for part in getattr(request, name)) for name in ("references", "keyframes", "masks")
    }
    changes |= {name: names[path] for name in ("video", "audio") if (path := getattr(request, name)) is not None}
    return request.model_copy(update=changes)
