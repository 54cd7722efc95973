"""What one case of a task is: pure data, from which media to hand over and the true result are rendered.

Times are seconds from the start of the film they speak of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openreels.world.films import Film

__all__ = ["Example", "Reference", "Region"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Something handed over besides the prompt, which names it "@tag".

    tag: "image_1", "video_1", "Audio-0" ... kind: which medium. films: what it shows or sounds like, one; of an image
    more make a grid of panels, read like a page (up to 9). moment: of the films that an image is taken from, seconds.
    Clips and sounds are the whole film.
    """

    tag: str
    kind: Literal["image", "video", "audio"]
    films: tuple[Film, ...]
    moment: float = 0.0


@dataclass(frozen=True, slots=True)
class Region:
    """What part of the picture is made anew: white in a user's mask.

    subjects: indices into the subjects of the first shot's scene, of source and target alike; the region covers them in
    both, with their shadows. moving: follows them from frame to frame; else one region covers their whole way.
    inverted: all but them (their silhouettes are kept), to make the background anew.
    """

    subjects: tuple[int, ...]
    moving: bool = True
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One case. Either nothing is handed over but the prompt and references, or some of what follows.

    row: its task, of `ROWS`. prompt: what the user writes. target: the true result.
    kept: spans (start, end) of the target that are handed over as they are, pictures only: (0, 1 / fps) is a first
        frame, (0, 0.8) the clip that is extended; all but a span is a retake.
    source: a clip as long as the target that is edited. region: where it is made anew (then outside of it the target
        *is* the source); None: an instruction alone says what to change, and the source is a reference for all of it.
    given: the modality that is handed over whole, the other is made for it: "sound" of the target, or its "picture".
    references: in the order of their tags.
    """

    row: str
    prompt: str
    target: Film
    kept: tuple[tuple[float, float], ...] = ()
    source: Film | None = None
    region: Region | None = None
    given: Literal["sound", "picture"] | None = None
    references: tuple[Reference, ...] = ()

    @property
    def is_unseen(self) -> bool:
        """Whether nothing decides what is to be seen but the prompt: no frame, picture, clip or sound to follow."""
        shows = any(reference.kind != "audio" for reference in self.references)
        return not (shows or self.source or self.kept or self.given)
