"""Draws scenes. Everything about timing is random, so that no sound can be guessed without looking, and back.

Some triples (colour, kind, motion) never occur in the "train" split; each "held_out" scene holds at least one. Lengths
in short sides, times in seconds, as in `script`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import pi
from random import Random
from typing import Literal
from zlib import crc32

from openreels.world.motion import BOTTOM, HALF_WIDTH
from openreels.world.script import (
    BACKGROUNDS,
    COLOURS,
    FACES,
    MATERIALS,
    MOODS,
    SHAPES,
    VOICES,
    VOWELS,
    Melody,
    Motion,
    Note,
    Scene,
    Speech,
    Subject,
    Syllable,
)

__all__ = ["Split", "held_out", "possible_motions", "sample_dialogue", "sample_scene", "sample_singing"]

Split = Literal["train", "held_out"]

FACE_SHARE = 0.24
FACE_AND_SHAPE_SHARE = 0.03
PAIR_SHARE = 0.26
COLLIDE_SHARE = 0.4  # of the pairs
MELODY_SHARE = 0.12
NIGHT_SHARE = 0.3
EDGE = 0.02  # subjects keep this far from the window's border

_COLOURS = tuple(COLOURS)


@cache
def possible_motions(kind: str) -> tuple[str, ...]:
    """Motions a single subject of this kind may have. Corners do not roll; faces stay and talk."""
    if kind in FACES:
        return ("still",)
    rolls = ("roll",) if kind in ("ball", "ring", "star") else ()
    return ("bounce", "slide", *rolls, "jump", "orbit", "fall", "still")


@cache
def held_out(colour: str, kind: str, motion: str) -> bool:
    """True for the tenth or so of all triples that the training split never shows."""
    return crc32(f"{colour}/{kind}/{motion}".encode()) % 10 == 3


@cache
def _triples(split: Split, faces: bool, motions: tuple[str, ...] | None = None) -> tuple[tuple[str, str, str], ...]:
    kinds = FACES if faces else SHAPES
    return tuple(
        (colour, kind, motion)
        for kind in kinds
        for motion in possible_motions(kind) + (() if faces else ("collide",))
        for colour in _COLOURS
        if (motions is None or motion in motions) and held_out(colour, kind, motion) == (split == "held_out")
    )


# Motions with sound are worth more of the data; collide is drawn apart (two subjects share it).
_SINGLE = ("bounce", "slide", "roll", "jump", "orbit", "fall", "still")
_WEIGHTS = (24, 14, 13, 17, 12, 13, 7)
_IN_PAIR = ("bounce", "jump", "fall", "still")
_PAIR_WEIGHTS = (34, 28, 24, 14)


def _triple(rng: Random, split: Split, motions: tuple[str, ...], weights: tuple[int, ...], avoid: str = ""):
    motion = rng.choices(motions, weights)[0]
    options = _triples(split, False, (motion,))
    colour, kind, _ = options[int(rng.random() * len(options))]
    while colour == avoid:
        colour, kind, _ = options[int(rng.random() * len(options))]
    return colour, kind, motion


def _motion(rng: Random, kind: str, motion: str, radius: float, scene: _Frame, left: float, right: float) -> Motion:
    """Random numbers of one motion inside the span [left, right] (short sides)."""
    uniform, duration = rng.uniform, scene.duration
    room = scene.height * 0.5 + scene.floor - 2.0 * radius - EDGE  # free height above a standing subject
    low, high = left + radius + EDGE, right - radius - EDGE
    if high < low:
        low = high = 0.5 * (left + right)
    x = uniform(low, high)
    if motion == "bounce":
        period = uniform(0.36, 0.78)
        height = uniform(0.55, 1.0) * min(room, 0.62)
        return Motion(
            motion, x, start=uniform(0.04, period), period=period, height=height, restitution=uniform(0.72, 0.95)
        )
    if motion in ("slide", "roll"):
        sign = 1.0 if rng.random() < 0.5 else -1.0
        travel = uniform(0.6, 1.0) * (high - low)
        first = low + uniform(0.0, high - low - travel)
        period = uniform(0.55, 1.0) * min(max(duration * 0.85, 0.5), 2.5)
        return Motion(
            motion,
            first if sign > 0 else first + travel,
            start=uniform(0.0, 0.3) * min(duration, 2.0),
            period=period,
            distance=sign * travel,
            phase=uniform(0, 2 * pi) if motion == "roll" else 0.0,
        )
    if motion == "jump":
        return Motion(
            motion,
            x,
            start=uniform(0.04, 0.5),
            period=uniform(0.3, 0.55),
            pause=uniform(0.1, 0.42),
            height=uniform(0.5, 1.0) * min(room, 0.5),
        )
    if motion == "orbit":
        reach = min((right - left) * 0.5, (scene.height * 0.5 + scene.floor) * 0.5) - radius - EDGE
        orbit = max(uniform(0.75, 1.0) * min(reach, 0.32), 0.08)
        middle = 0.5 * (left + right)
        slack = max((right - left) * 0.5 - radius - orbit - EDGE, 0.0)
        lowest = orbit + uniform(0.0, 0.3) * max(room - 2.0 * orbit, 0.0)
        return Motion(
            motion,
            middle + uniform(-slack, slack),
            period=uniform(0.7, 1.5),
            height=lowest,
            distance=orbit if rng.random() < 0.5 else -orbit,
            phase=uniform(0.0, 2.0 * pi),
        )
    if motion == "fall":
        fall = uniform(0.22, 0.46)
        return Motion(
            motion,
            x,
            start=uniform(0.05, max(min(duration * 0.85, 1.6) - fall, 0.1)),
            period=fall,
            height=uniform(0.75, 1.0) * min(room, 0.75),
        )
    return Motion("still", x)


class _Frame:
    """The numbers of the stage that motions need while a scene is drawn."""

    __slots__ = ("duration", "floor", "height", "width")

    def __init__(self, duration: float, aspect: float, floor_from_bottom: float) -> None:
        self.duration = duration
        self.width, self.height = max(aspect, 1.0), max(1.0 / aspect, 1.0)
        self.floor = self.height * 0.5 - floor_from_bottom


def _speech(rng: Random, duration: float) -> Speech:
    """Syllables in words with pauses between; the first sound comes at any time of the first third of a second."""
    syllables = []
    time = rng.uniform(0.02, 0.34)
    left_in_word = rng.randint(1, 4)
    while time < duration:
        length = rng.uniform(0.15, 0.3)
        syllables.append(Syllable(time, length, VOWELS[int(rng.random() * 3)], rng.uniform(0.75, 1.0)))
        time += length * rng.uniform(0.95, 1.1)
        left_in_word -= 1
        if left_in_word == 0:
            time += rng.uniform(0.15, 0.5)
            left_in_word = rng.randint(1, 4)
    return Speech(VOICES[int(rng.random() * 2)], int(rng.random() * 3), tuple(syllables))


_SCALES = {"cheerful": (0, 2, 4, 7, 9, 12), "sad": (0, 2, 3, 7, 8, 12)}


def _melody(rng: Random, duration: float) -> Melody:
    mood = "cheerful" if rng.random() < 0.5 else "sad"
    scale = _SCALES[mood]
    step = rng.uniform(0.14, 0.2) if mood == "cheerful" else rng.uniform(0.36, 0.5)
    root = rng.randint(72, 77) if mood == "cheerful" else rng.randint(64, 69)
    notes, time, degree = [], rng.uniform(0.0, 0.12), rng.randrange(6)
    while time < duration:
        notes.append(Note(time, root + scale[degree], rng.uniform(0.7, 1.0)))
        degree = min(max(degree + rng.choice((-2, -1, 1, 2)), 0), 5)
        time += step * (2 if rng.random() < 0.2 else 1)
    return Melody(mood, tuple(notes))


def _shape(rng: Random, triple: tuple[str, str, str], frame: _Frame, left: float, right: float, pair: bool) -> Subject:
    colour, kind, motion = triple
    size = "small" if rng.random() < 0.5 else "large"
    if pair:
        radius = rng.uniform(0.16, 0.175) if size == "small" else rng.uniform(0.195, 0.215)
    else:
        radius = rng.uniform(0.16, 0.185) if size == "small" else rng.uniform(0.215, 0.25)
    material = MATERIALS[int(rng.random() * 4)]
    return Subject(
        kind,
        colour,
        size,
        radius,
        _motion(rng, kind, motion, radius, frame, left, right),
        material=material,
        tone=int(rng.random() * 8),
    )


def _face(rng: Random, split: Split, frame: _Frame, left: float, right: float, largest: float) -> Subject:
    options = _triples(split, True)
    colour, kind, _ = options[int(rng.random() * len(options))]
    size = "small" if largest < 0.31 or rng.random() < 0.5 else "large"
    radius = rng.uniform(0.27, min(0.3, largest)) if size == "small" else rng.uniform(0.32, min(0.36, largest))
    slack = max((right - left) * 0.5 - radius * 1.05, 0.0)
    x = 0.5 * (left + right) + rng.uniform(-slack, slack) * 0.8
    blinks, time = [], rng.uniform(0.2, 2.5)
    while time < frame.duration:
        blinks.append(time)
        time += rng.uniform(1.2, 3.0)
    return Subject(
        kind, colour, size, radius, Motion("still", x), speech=_speech(rng, frame.duration), blinks=tuple(blinks)
    )


def _collision(rng: Random, split: Split, frame: _Frame) -> tuple[Subject, ...]:
    first = _triple(rng, split, ("collide",), (1,))
    second = _triple(rng, "train", ("collide",), (1,), avoid=first[0])
    pair = [_shape(rng, triple, frame, 0.0, 0.0, True) for triple in (first, second)]
    if rng.random() < 0.5:
        pair.reverse()
    half = frame.width * 0.5
    middle = rng.uniform(-0.06, 0.06) * frame.width
    time = rng.uniform(0.25, 0.75) * min(max(frame.duration, 0.6), 1.6)
    bodies = []
    for subject, side in zip(pair, (-1.0, 1.0), strict=True):
        reach = HALF_WIDTH[subject.kind] * subject.radius
        touching = middle + side * reach
        # It may start partly outside: on a square picture there is no other room to run up.
        farthest = half - 0.55 * subject.radius
        start = side * max(farthest * rng.uniform(0.9, 1.0), side * touching + 0.08)
        motion = Motion(
            "collide",
            start,
            start=time,
            period=rng.uniform(0.5, 0.9),
            distance=touching - start,
            restitution=rng.uniform(0.5, 0.9),
        )
        bodies.append(
            Subject(
                subject.kind,
                subject.colour,
                subject.size,
                subject.radius,
                motion,
                material=subject.material,
                tone=subject.tone,
            )
        )
    return tuple(bodies)


def _spans(rng: Random, frame: _Frame, share: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the first of two subjects is, in such a share of the width at either side, and the other one beside it."""
    half = frame.width * 0.5
    border = half - share * frame.width
    return ((border, half), (-half, border)) if rng.random() < 0.5 else ((-half, -border), (-border, half))


def _subjects(rng: Random, split: Split, frame: _Frame) -> tuple[Subject, ...]:
    half = frame.width * 0.5
    draw = rng.random()
    if draw < FACE_SHARE:
        return (_face(rng, split, frame, -half, half, 0.36),)
    draw -= FACE_SHARE
    if draw < FACE_AND_SHAPE_SHARE:
        here, there = _spans(rng, frame, 0.58)
        face = _face(rng, split, frame, *here, 0.285)
        triple = _triple(rng, "train", _IN_PAIR, _PAIR_WEIGHTS, avoid=face.colour)
        return face, _shape(rng, triple, frame, *there, True)
    draw -= FACE_AND_SHAPE_SHARE
    if draw < PAIR_SHARE:
        if draw < PAIR_SHARE * COLLIDE_SHARE:
            return _collision(rng, split, frame)
        motions, weights = _IN_PAIR, _PAIR_WEIGHTS
        if frame.width >= 1.3:  # half of a square has no room to travel or circle
            motions, weights = (*_IN_PAIR, "slide", "roll", "orbit"), (*_PAIR_WEIGHTS, 14, 14, 14)
        here, there = _spans(rng, frame, 0.5)
        triple = _triple(rng, split, motions, weights)
        other = _triple(rng, "train", motions, weights, avoid=triple[0])
        return _shape(rng, triple, frame, *here, True), _shape(rng, other, frame, *there, True)
    return (_shape(rng, _triple(rng, split, _SINGLE, _WEIGHTS), frame, -half, half, False),)


def sample_scene(seed: int, *, duration: float, aspect: float = 1.0, split: Split = "train") -> Scene:
    """One random scene, a function of its arguments alone.

    duration: seconds. aspect: width / height of the safe window. split: "train" never holds a held-out triple of
    (colour, kind, motion), "held_out" always does; the same seed gives unrelated scenes in the two.
    """
    rng = Random(f"openreels world 1 {split} {seed}")
    frame = _Frame(duration, aspect, rng.uniform(0.13, 0.2))
    background = BACKGROUNDS[int(rng.random() * len(BACKGROUNDS))]
    night = rng.random() < NIGHT_SHARE
    variant = int(rng.random() * 256)
    subjects = _subjects(rng, split, frame)
    melody = _melody(rng, duration) if rng.random() < MELODY_SHARE else None
    return Scene(seed, duration, aspect, background, night, frame.floor, variant, subjects, melody)


# What singers sing: roots as MIDI notes, one step of the scale after another.
_ROOT = {"low": (48, 53), "high": (60, 65)}
LONGEST_NOTE = 0.62


def _sung(rng: Random, duration: float) -> Speech:
    """A tune, one vowel to a note, most notes joined and some breaths between."""
    voice = VOICES[int(rng.random() * 2)]
    scale = _SCALES[MOODS[int(rng.random() * 2)]]
    root, degree = rng.randint(*_ROOT[voice]), rng.randrange(6)
    beat, time = rng.uniform(0.28, 0.4), rng.uniform(0.02, 0.3)
    syllables = []
    while time < duration:
        beats = rng.choice((1.0, 1.0, 1.5))
        length = min(beat * beats, LONGEST_NOTE)
        vowel = VOWELS[int(rng.random() * 3)]
        syllables.append(Syllable(time, length * 0.96, vowel, rng.uniform(0.8, 1.0), root + scale[degree]))
        # The next note is another one: a tune is heard by its steps.
        steps = [step for step in (-2, -1, 1, 2) if 0 <= degree + step <= 5]
        degree += steps[int(rng.random() * len(steps))]
        time += length + (beat * 0.5 if rng.random() < 0.15 else 0.0)
    return Speech(voice, int(rng.random() * 3), tuple(syllables))


def _stage(rng: Random, seed: int, duration: float, aspect: float) -> tuple[_Frame, Scene]:
    """A place to stand in, and it as a scene without subjects."""
    frame = _Frame(duration, aspect, rng.uniform(0.13, 0.2))
    background = BACKGROUNDS[int(rng.random() * len(BACKGROUNDS))]
    night, variant = rng.random() < NIGHT_SHARE, int(rng.random() * 256)
    return frame, Scene(seed, duration, aspect, background, night, frame.floor, variant, ())


def sample_singing(seed: int, *, duration: float, aspect: float = 1.0, split: Split = "train") -> Scene:
    """One random scene of a face that sings a tune. The arguments are those of `sample_scene`."""
    rng = Random(f"openreels singing 1 {split} {seed}")
    frame, scene = _stage(rng, seed, duration, aspect)
    face = _face(rng, split, frame, -frame.width * 0.5, frame.width * 0.5, 0.36)
    return replace(scene, subjects=(replace(face, speech=_sung(rng, duration)),))


TURN = 1.0  # seconds of a dialogue's turn, about
PAUSE = (0.08, 0.16)  # seconds between two turns


def _turns(rng: Random, duration: float) -> list[tuple[Syllable, ...]]:
    """What is said in turns of about `TURN`, two of them at least; the speakers take them one after the other."""
    count = max(round(duration / TURN), 2)
    borders = [(i + (rng.uniform(-0.12, 0.12) if 0 < i < count else 0.0)) * duration / count for i in range(count + 1)]
    turns = []
    for begin, end in pairwise(borders):
        time, last = begin + rng.uniform(*PAUSE) * 0.5, end - rng.uniform(*PAUSE) * 0.5
        count = max(round((last - time) / rng.uniform(0.17, 0.26)), 1)
        length = (last - time) / count
        turns.append(
            tuple(
                Syllable(time + i * length, length * 0.97, VOWELS[int(rng.random() * 3)], rng.uniform(0.75, 1.0))
                for i in range(count)
            )
        )
    return turns


def sample_dialogue(seed: int, *, duration: float, aspect: float = 1.0, split: Split = "train") -> Scene:
    """One random scene of two faces side by side that speak in turns, one in a low voice, one in a high one.

    They differ in kind and colour and are wholly in view; the first subject is the left one. Each has at least one
    turn. duration: seconds, from 0.8 on there is time for two turns. Else as `sample_scene`; of a "held_out" dialogue
    the left face is held out.
    """
    rng = Random(f"openreels dialogue 1 {split} {seed}")
    frame, scene = _stage(rng, seed, duration, aspect)
    quarter = frame.width * 0.25
    voices = ("low", "high") if rng.random() < 0.5 else ("high", "low")
    first, turns = int(rng.random() * 2), _turns(rng, duration)
    faces: list[Subject] = []
    for side, voice in enumerate(voices):
        options = [
            (colour, kind)
            for colour, kind, _ in _triples(split if side == 0 else "train", True)
            if all(colour != other.colour and kind != other.kind for other in faces)
        ]
        colour, kind = options[int(rng.random() * len(options))]
        radius = rng.uniform(0.195, 0.215) if frame.width < 1.3 else rng.uniform(0.25, 0.28)
        x = quarter * (-1.0 if side == 0 else 1.0) + rng.uniform(-0.015, 0.015)
        mine = tuple(syllable for turn in turns[(side - first) % 2 :: 2] for syllable in turn)
        speech = Speech(voice, int(rng.random() * 3), mine)
        faces.append(Subject(kind, colour, "small", radius, Motion("still", x), speech=speech))
    return replace(scene, subjects=tuple(faces))


assert set(BOTTOM) == set(SHAPES)
