"""What is true of a scene's clip, as plain numbers: what an oracle that sees only pixels and samples is compared with.

Legend: T frames. Positions here are fractions of the safe window's width and height from its top left (x right, y
down), unlike the scene's own short-side units; times are seconds from the clip's first frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from openreels.world.motion import contacts, mouth, tracks
from openreels.world.script import Scene, Speech

__all__ = ["ContactTruth", "SubjectTruth", "Truth", "truth"]


@dataclass(frozen=True, slots=True)
class SubjectTruth:
    """One subject. motion: of MOTIONS, "talk" for a speaking face, "sing" for a singing one. direction: "left", "right"
    or "".

    accessory, pattern: as in the script. notes: MIDI number of what is sung per frame, 0 where nothing is.
    radius: short sides. x, y, angle: per frame; angle in radians, clockwise. visible: share of the frames with the
    centre inside the window. mouth: opening per frame, 0..1; vowels: per frame, "" when closed. Empty for shapes.
    """

    kind: str
    colour: str
    size: str
    material: str | None
    motion: str
    direction: str
    radius: float
    x: tuple[float, ...]
    y: tuple[float, ...]
    angle: tuple[float, ...]
    visible: float
    voice: str | None = None
    mouth: tuple[float, ...] = ()
    vowels: tuple[str, ...] = ()
    notes: tuple[int, ...] = ()
    accessory: str | None = None
    pattern: str = "plain"


@dataclass(frozen=True, slots=True)
class ContactTruth:
    """An impact. kind: "floor" or "hit". subjects: indices. materials: of those."""

    time: float
    kind: str
    subjects: tuple[int, ...]
    materials: tuple[str, ...]
    strength: float


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything measurable of one clip. voice: loudness of all speech and song per frame, 0..1. melody: mood or None.

    What the scene has muted is not in voice and melody. weather, style, tone, effect, overlay, corner: as in the
    script; corner is "" where there is no overlay in a corner.
    """

    fps: float
    frames: int
    aspect: float
    background: str
    night: bool
    floor: float
    subjects: tuple[SubjectTruth, ...]
    contacts: tuple[ContactTruth, ...]
    voice: tuple[float, ...]
    melody: str | None
    weather: str = "clear"
    style: str = "plain"
    tone: str = "natural"
    effect: str | None = None
    overlay: str | None = None
    corner: str = ""
    muted: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.subjects)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def truth(scene: Scene, *, fps: float, frames: int, start: float = 0.0) -> Truth:
    """The truth of the clip that `render` makes of the scene with the same arguments."""
    times_T = start + np.arange(frames, dtype=np.float64) / float(fps)
    end = start + frames / float(fps)
    path = tracks(scene, times_T)
    x_NT, y_NT = path.x_NT / scene.width + 0.5, path.y_NT / scene.height + 0.5
    subjects, voice = [], np.zeros(frames)
    for index, subject in enumerate(scene.subjects):
        opening, vowels = mouth(subject.speech, times_T.tolist()) if subject.is_face else ([], [])
        if subject.speech is not None and "speech" not in scene.muted:
            voice = np.maximum(voice, opening)
        kind = subject.motion.kind
        direction = ""
        if kind in ("slide", "roll", "collide"):
            direction = "right" if subject.motion.distance > 0 else "left"
        x, y = x_NT[index], y_NT[index]
        inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
        subjects.append(
            SubjectTruth(
                kind=subject.kind,
                colour=subject.colour,
                size=subject.size,
                material=subject.material,
                motion=kind if subject.speech is None else "sing" if subject.speech.is_sung else "talk",
                direction=direction,
                radius=subject.radius,
                x=tuple(x.tolist()),
                y=tuple(y.tolist()),
                angle=tuple(path.angle_NT[index].tolist()),
                visible=float(inside.mean()),
                voice=subject.speech.voice if subject.speech is not None else None,
                mouth=tuple(opening),
                vowels=tuple(vowels),
                notes=_notes(subject.speech, times_T.tolist()),
                accessory=subject.accessory,
                pattern=subject.pattern,
            )
        )
    impacts = tuple(
        ContactTruth(contact.time - start, contact.kind, contact.subjects, contact.materials, contact.strength)
        for contact in contacts(scene)
        if start <= contact.time < end
    )
    overlay = scene.overlay
    return Truth(
        fps=float(fps),
        frames=frames,
        aspect=scene.aspect,
        background=scene.background,
        night=scene.night,
        floor=scene.floor / scene.height + 0.5,
        subjects=tuple(subjects),
        contacts=impacts,
        voice=tuple(voice.tolist()),
        melody=scene.melody.mood if scene.melody is not None and "music" not in scene.muted else None,
        weather=scene.weather,
        style=scene.style,
        tone=scene.tone,
        effect=scene.effect,
        overlay=overlay.kind if overlay is not None else None,
        corner=overlay.corner if overlay is not None and overlay.kind != "subtitle" else "",
        muted=scene.muted,
    )


def _notes(speech: Speech | None, times_T: Sequence[float]) -> tuple[int, ...]:
    """The MIDI note at each of the times, 0 where nothing is sung; empty where the speaker does not sing."""
    if speech is None or not speech.is_sung:
        return ()
    notes = [0] * len(times_T)
    for syllable in speech.syllables:
        for i, time in enumerate(times_T):
            if syllable.note is not None and syllable.start < time < syllable.start + syllable.duration:
                notes[i] = syllable.note
    return tuple(notes)
