"""Dresses scenes at random: weather, style, light, effects, overlays, and what their subjects wear."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from openreels.world.script import (
    ACCESSORIES,
    CORNERS,
    EFFECTS,
    OVERLAYS,
    PATTERNS,
    STYLES,
    TONES,
    WEATHERS,
    Overlay,
    Scene,
    Subject,
)

__all__ = ["dressed"]

RARE = 0.5  # effects and overlays are this much rarer than the rest


def _dressed_subject(rng: Random, subject: Subject, share: float) -> Subject:
    if rng.random() < share and subject.accessory is None:
        subject = replace(subject, accessory=rng.choice(ACCESSORIES))
    if rng.random() < share and subject.pattern == PATTERNS[0]:
        subject = replace(subject, pattern=rng.choice(PATTERNS[1:]))
    return subject


def dressed(scene: Scene, seed: int, share: float = 0.12) -> Scene:
    """The scene with each attribute that it has not got yet added with this probability, all independently.

    A function of its arguments alone. share: 0..1, for each of weather, style, tone, and the accessory and pattern of
    each subject; half of it for an effect and an overlay. Nothing that moves or sounds changes, but for the weather's
    sound. Raises ValueError for a share outside 0..1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in 0..1, not {share}")
    rng = Random(f"openreels dressing 1 {scene.seed} {seed}")
    found = {}
    for field, choices in (("weather", WEATHERS), ("style", STYLES), ("tone", TONES)):
        if rng.random() < share and getattr(scene, field) == choices[0]:
            found[field] = rng.choice(choices[1:])
    if rng.random() < share * RARE and scene.effect is None:
        found["effect"] = rng.choice(EFFECTS)
    if rng.random() < share * RARE and scene.overlay is None:
        found["overlay"] = Overlay(rng.choice(OVERLAYS), rng.choice(CORNERS), rng.randrange(16))
    subjects = tuple(_dressed_subject(rng, subject, share) for subject in scene.subjects)
    return replace(scene, subjects=subjects, **found)
