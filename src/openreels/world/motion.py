"""Where everything is at any time: a scene script becomes pieces of constant acceleration, evaluated in closed form.

Legend: N subjects  T times  K pieces  P numbers of a piece. Units as in `script`: short sides, seconds, radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np

from openreels.world.script import Motion, Scene, Speech, Subject

__all__ = ["BOTTOM", "HALF_WIDTH", "Contact", "Tracks", "contacts", "mouth", "pieces", "rest_height", "tracks"]

# How far a shape of radius 1 reaches down and sideways: its outline, not its circle, touches the floor and the partner.
BOTTOM = {"ball": 1.0, "box": 0.86, "star": 0.80, "triangle": 0.72, "heart": 0.92, "ring": 1.0}
HALF_WIDTH = {"ball": 1.0, "box": 0.86, "star": 0.95, "triangle": 0.94, "heart": 0.97, "ring": 1.0}
FACE_BOTTOM = 0.84  # a face sinks a little below the floor line, as somebody standing behind it

# A bounce shorter than this is over: the subject rests instead of buzzing on the floor.
SHORTEST_ARC = 0.13
# Motions go on this long past the scene's end, so that a clip may be extended.
MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class Contact:
    """Something audible at an instant. kind: "floor" (a landing), "hit" (two subjects) or "takeoff".

    time: seconds. subjects: indices in the scene. materials: theirs. strength: 0..1, loudness of the impact.
    """

    time: float
    kind: str
    subjects: tuple[int, ...]
    materials: tuple[str, ...]
    strength: float


@dataclass(frozen=True)
class Tracks:
    """Positions of the subjects of one scene, float64. x_NT, y_NT: centre. angle_NT: clockwise. radius_N: nominal.

    speed_NT: short sides per second.
    """

    x_NT: np.ndarray
    y_NT: np.ndarray
    angle_NT: np.ndarray
    speed_NT: np.ndarray
    radius_N: np.ndarray


def rest_height(scene: Scene, subject: Subject) -> float:
    """y of the subject's centre when it stands on the floor."""
    if subject.is_face:
        return scene.floor - FACE_BOTTOM * subject.radius
    # A rolling shape turns, so it stands on its farthest point.
    bottom = 1.0 if subject.motion.kind == "roll" else BOTTOM[subject.kind]
    return scene.floor - bottom * subject.radius


# A piece: start time, x, y, vx, vy, ax, ay, turn per x travelled, angle at its start, orbit radius, phase, orbit speed.
Piece = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
FAR_PAST = -1e9


def _rest(time: float, x: float, y: float, angle: float = 0.0) -> Piece:
    return (time, x, y, 0.0, 0.0, 0.0, 0.0, 0.0, angle, 0.0, 0.0, 0.0)


def _arc(time: float, x: float, y: float, period: float, height: float) -> Piece:
    """A parabola that leaves the floor at `time` and lands `period` later."""
    gravity = 8.0 * height / (period * period)
    return (time, x, y, 0.0, -0.5 * gravity * period, 0.0, gravity, 0.0, 0.0, 0.0, 0.0, 0.0)


def _bounce(m: Motion, y: float, until: float) -> tuple[list[Piece], list[tuple[float, str, float]]]:
    result = [_rest(FAR_PAST, m.x, y - m.height)]
    events = []
    time, period, height = m.start, m.period, m.height
    result.append(_arc(time - period, m.x, y, period, height))
    strength = 1.0
    while time < until:
        events.append((time, "floor", strength))
        period *= m.restitution
        height *= m.restitution * m.restitution
        strength *= m.restitution
        if period < SHORTEST_ARC:
            result.append(_rest(time, m.x, y))
            break
        result.append(_arc(time, m.x, y, period, height))
        time += period
    return result, events


def _jump(m: Motion, y: float, until: float) -> tuple[list[Piece], list[tuple[float, str, float]]]:
    result, events = [_rest(FAR_PAST, m.x, y)], []
    time = m.start
    while time < until:
        result.append(_arc(time, m.x, y, m.period, m.height))
        events.append((time, "takeoff", 0.6))
        time += m.period
        events.append((time, "floor", 0.75))
        result.append(_rest(time, m.x, y))
        time += m.pause
    return result, events


def _travel(m: Motion, y: float, radius: float) -> list[Piece]:
    # Constant deceleration to a stop: speed 2 d / period at first.
    speed = 2.0 * m.distance / m.period
    turn = 1.0 / radius if m.kind == "roll" else 0.0
    return [
        _rest(FAR_PAST, m.x, y, m.phase),
        (m.start, m.x, y, speed, 0.0, -speed / m.period, 0.0, turn, m.phase, 0.0, 0.0, 0.0),
        _rest(m.start + m.period, m.x + m.distance, y, m.phase + turn * m.distance),
    ]


def _collide(m: Motion, y: float) -> list[Piece]:
    speed = m.distance / m.start
    back = -speed * m.restitution
    hit_x = m.x + m.distance
    return [
        _rest(FAR_PAST, m.x, y),
        (0.0, m.x, y, speed, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (m.start, hit_x, y, back, 0.0, -back / m.period, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        _rest(m.start + m.period, hit_x + 0.5 * back * m.period, y),
    ]


def pieces(scene: Scene, subject: Subject) -> tuple[list[Piece], list[tuple[float, str, float]]]:
    """The subject's path as pieces sorted by start, and its events (time, kind, strength)."""
    m, y = subject.motion, rest_height(scene, subject)
    until = scene.duration + MARGIN
    if m.kind == "bounce":
        return _bounce(m, y, until)
    if m.kind == "jump":
        return _jump(m, y, until)
    if m.kind in ("slide", "roll"):
        return _travel(m, y, subject.radius), []
    if m.kind == "orbit":
        omega = 2.0 * pi / m.period * (1.0 if m.distance > 0 else -1.0)
        return [(0.0, m.x, y - m.height, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, abs(m.distance), m.phase, omega)], []
    if m.kind == "fall":
        gravity = 2.0 * m.height / (m.period * m.period)
        top = y - m.height
        path = [
            _rest(FAR_PAST, m.x, top),
            (m.start, m.x, top, 0.0, 0.0, 0.0, gravity, 0.0, 0.0, 0.0, 0.0, 0.0),
            _rest(m.start + m.period, m.x, y),
        ]
        return path, [(m.start + m.period, "floor", 1.0)]
    if m.kind == "collide":
        return _collide(m, y), [(m.start, "hit", 1.0)]
    return [_rest(0.0, m.x, y)], []


def evaluate(
    paths: Sequence[list[Piece]], times_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of N subjects at T times -> x_NT, y_NT, angle_NT, speed_NT (float64)."""
    count = max(len(path) for path in paths)
    # Unused pieces start after every time, so padding never changes which piece is found.
    table_NKP = np.zeros((len(paths), count, 12))
    table_NKP[:, :, 0] = 1e9
    for row, path in enumerate(paths):
        table_NKP[row, : len(path)] = path
    index_NT = (times_T[None, :, None] >= table_NKP[:, None, :, 0]).sum(-1) - 1
    found_NTP = table_NKP[np.arange(len(paths))[:, None], np.maximum(index_NT, 0)]
    t0, x, y, vx, vy, ax, ay, turn, angle, orbit, phase, omega = (found_NTP[..., i] for i in range(12))
    tau = np.where(t0 == FAR_PAST, 0.0, times_T[None] - t0)
    turned = phase + omega * tau
    cosine, sine = np.cos(turned), np.sin(turned)
    dx = vx * tau + 0.5 * ax * tau * tau
    x_NT = x + dx + orbit * cosine
    y_NT = y + vy * tau + 0.5 * ay * tau * tau + orbit * sine
    speed_NT = np.hypot(vx + ax * tau - orbit * omega * sine, vy + ay * tau + orbit * omega * cosine)
    return x_NT, y_NT, angle + turn * dx, speed_NT


def tracks(scene: Scene, times_T: np.ndarray | Sequence[float]) -> Tracks:
    """Where each subject is at the given times (seconds)."""
    paths = [pieces(scene, subject)[0] for subject in scene.subjects]
    return Tracks(
        *evaluate(paths, np.asarray(times_T, dtype=np.float64)),
        radius_N=np.array([subject.radius for subject in scene.subjects]),
    )


def contacts(scene: Scene, *, takeoffs: bool = False) -> list[Contact]:
    """All impacts up to the scene's end, in order of time; with `takeoffs` the starts of hops too."""
    found = []
    for index, subject in enumerate(scene.subjects):
        for time, kind, strength in pieces(scene, subject)[1]:
            if not 0.0 <= time < scene.duration or (kind == "takeoff" and not takeoffs):
                continue
            if kind == "hit":
                if index == 0:  # both partners know of the hit; it is one event
                    both = scene.subjects[:2]
                    found.append(Contact(time, kind, (0, 1), tuple(s.material or "rubber" for s in both), strength))
            else:
                found.append(Contact(time, kind, (index,), (subject.material or "rubber",), strength))
    return sorted(found, key=lambda contact: contact.time)


# Of a syllable's duration: the mouth opens fast and closes slowly, as mouths do; a sung one is held.
RISE = 0.36
SUNG_RISE, SUNG_FALL = 0.16, 0.22


def syllable_envelope(phase: float, *, sung: bool = False) -> float:
    """Opening and loudness within a syllable; phase 0..1, result 0..1. Smooth at both ends."""
    if phase <= 0.0 or phase >= 1.0:
        return 0.0
    rise, fall = (SUNG_RISE, SUNG_FALL) if sung else (RISE, 1.0 - RISE)
    if phase < rise:
        return 0.5 - 0.5 * cos(pi * phase / rise)
    # Held until the last part; nothing of a spoken syllable is.
    return 0.5 + 0.5 * cos(pi * max(phase - (1.0 - fall), 0.0) / fall)


def mouth(speech: Speech | None, times_T: Sequence[float]) -> tuple[list[float], list[str]]:
    """Opening 0..1 and vowel ("aa", "oo", "ee"; "" when closed) of a mouth at the given times."""
    opening, vowels = [0.0] * len(times_T), [""] * len(times_T)
    if speech is None:
        return opening, vowels
    for syllable in speech.syllables:
        end = syllable.start + syllable.duration
        for i, time in enumerate(times_T):
            if syllable.start < time < end:
                phase = (time - syllable.start) / syllable.duration
                value = syllable_envelope(phase, sung=syllable.note is not None) * syllable.loudness
                if value > opening[i]:
                    opening[i], vowels[i] = value, syllable.vowel
    return opening, vowels
