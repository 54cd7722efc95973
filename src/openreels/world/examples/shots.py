"""Rows of several shots: films of two or three, and clips that go on behind a cut of one of the five kinds."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from openreels.world.examples.draw import FPS, Draw
from openreels.world.examples.example import Example
from openreels.world.films import CUTS, Film, sample_film

__all__ = ["after", "cropped", "multi_shot", "whole"]

KEPT = (13, 17)  # frames before the cut that is made: whole latent frames
SHORTEST = 0.5  # seconds of a film's outer shots
CROPPED = 0.25  # seconds cut off a film's begin, unless it is longer than the case
DURATIONS = (1.8, 2.6)  # seconds that films of two and of three shots can be cropped to


def cropped(film: Film, begin: float, duration: float) -> Film | None:
    """The film from `begin` on, `duration` long, both within its first and its last shot; None where a shot does not
    show any more what it was of."""
    shots = list(film.shots)
    shots[0] = replace(shots[0], start=shots[0].start + begin, duration=shots[0].duration - begin)
    shots[-1] = replace(shots[-1], duration=duration - sum(shot.duration for shot in shots[:-1]))
    if any(was.seen and not now.seen for was, now in zip(film.shots, shots, strict=True)):
        return None
    return replace(film, shots=tuple(shots))


def _film(draw: Draw, cuts: tuple[str, ...]) -> Film:
    if not DURATIONS[0] <= draw.duration <= DURATIONS[1]:
        raise ValueError(f"duration of {draw.row} must be {DURATIONS[0]} to {DURATIONS[1]} s, not {draw.duration}")
    return sample_film(draw.rng.randrange(2**31), cuts=cuts, aspect=draw.aspect, split=draw.split)


def whole(draw: Draw, cuts: tuple[str, ...]) -> Film:
    """A film of the case's length with these cuts."""
    for _ in count():
        film = _film(draw, cuts)
        if len(film.cuts) < len(cuts):
            continue
        middle = sum(shot.duration for shot in film.shots[1:-1])
        outer = draw.duration - middle
        first, last = film.shots[0].duration, film.shots[-1].duration
        low, high = max(SHORTEST, outer - last), min(first, outer - SHORTEST)
        if low <= high:
            # Little is cut off in front, so that what the caption tells of the first shot is still seen.
            part = cropped(film, first - draw.rng.uniform(max(low, high - CROPPED), high), draw.duration)
            if part is not None:
                return part
    raise AssertionError


def multi_shot(draw: Draw) -> Example:
    """Two shots, sometimes three."""
    cuts = (draw.rng.choice(CUTS),)
    if draw.rng.random() < 0.2:
        cuts = (*cuts, "")
    film = whole(draw, cuts)
    return draw.example(draw.words.film_caption(film), film)


def after(kind: str, draw: Draw) -> Example:
    """What follows a cut of this kind. The prompt tells the whole film, or only how it goes on."""
    for _ in count():
        film = _film(draw, (kind,))
        first, last = (shot.duration for shot in film.shots)
        kept = max((frames / FPS for frames in KEPT if frames / FPS <= first), default=0.0)
        if film.cuts == (kind,) and kept and last >= draw.duration - kept:
            part = cropped(film, first - kept, draw.duration)
            if part is not None:
                break
    prompt = draw.words.film_caption(part) if draw.rng.random() < 0.5 else draw.words.cuts(part)
    return draw.example(prompt, part, kept=((0.0, kept),))
