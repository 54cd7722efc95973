"""Where key frames stand in time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from openreels.media.timing import exact, nearest
from openreels.request import KeyFrame, RequestError

__all__ = ["key_indices"]


def key_indices(keyframes: Sequence[KeyFrame], frames: int, fps: Fraction) -> list[int]:
    """The frame that each key frame becomes, of `frames`.

    Those at "auto" are spread evenly between their neighbours; the first and the last of several, if they are, are the
    first and the last frame, and a single one is the first. Raises RequestError where one lies beyond the clip, and
    where two fall on one frame.
    """
    found: list[int | None] = [_index(keyframe.at, frames, fps) for keyframe in keyframes]
    if found[0] is None:
        found[0] = 0
    if found[-1] is None:
        found[-1] = frames - 1
    known = [number for number, index in enumerate(found) if index is not None]
    for before, after in pairwise(known):
        for number in range(before + 1, after):
            way = Fraction(number - before, after - before)
            found[number] = nearest(found[before] + way * (found[after] - found[before]))
    for number, index in enumerate(found, 1):
        if index in found[: number - 1]:
            first, time = found.index(index) + 1, float(index / fps)
            raise RequestError(f"keyframes {first} and {number} fall on the same frame, at {time:.4g} s; accepted are "
                               f"times {float(1 / fps):.4g} s apart")  # fmt: skip
    return found


def _index(at: float | str, frames: int, fps: Fraction) -> int | None:
    if isinstance(at, str):
        return {"first": 0, "last": frames - 1, "auto": None}[at]
    index = nearest(exact(at) * fps)
    if index >= frames:
        raise RequestError(
            f"a key frame is at {at:g} s, and the clip lasts {float(frames / fps):.4g} s; accepted are times up to "
            f"{float((frames - 1) / fps):.4g} s"
        )
    return index
