"""Which of all edits a clip shows, judged against exact alternatives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from openreels.evaluation.tasks.alternatives import alternatives
from openreels.evaluation.tasks.nearest import ExactPair, frames_of
from openreels.media import Clip
from openreels.world import BACKGROUNDS, COLOURS, Film, Motion, Scene, Shot, Subject
from openreels.world.camera import CAMERA_MOVES, STRAIGHT, CameraMove
from openreels.world.script import WEATHERS, Overlay

BALL = Subject("ball", "red", "large", 0.24, Motion("still", -0.2), material="rubber")
STAR = Subject("star", "cyan", "small", 0.17, Motion("still", 0.25), material="wood")
SCENE = Scene(1, 0.5625, 1.0, "meadow", False, 0.32, 9, (BALL, STAR))
LIKE = Clip(np.zeros((9, 64, 64, 3), np.uint8), Fraction(16))


def film(scene: Scene = SCENE, move: CameraMove | None = None, **changes) -> Film:
    return Film(0, (Shot(replace(scene, **changes), STRAIGHT, 0.0, scene.duration, move),), ())


def ball(**changes) -> Film:
    return film(subjects=(replace(BALL, **changes), STAR))


def shown(of: Film) -> Clip:
    return replace(LIKE, frames=frames_of(of, LIKE).numpy())


EDITS = {
    "colour": ball(colour="blue"),
    "kind": ball(kind="heart"),
    "pattern": ball(pattern="stripes"),
    "accessory": ball(accessory="hat"),
    "removed": film(subjects=(BALL,)),
    "background": film(background="desert"),
    "night": film(night=True),
    "weather": film(weather="rain"),
    "style": film(style="sketch"),
    "tone": film(tone="cool"),
    "camera": film(move=CameraMove("push-in", 1.5)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_the_true_result_passes_and_its_source_does_not(edit):
    pair = ExactPair(film(), EDITS[edit], LIKE)
    assert pair.judge(shown(EDITS[edit])) == {"changed": True, "kept": True}
    assert not pair.judge(shown(film()))["changed"]
    blurred = shown(EDITS[edit])
    soft = blurred.frames.astype(np.float32)
    soft = (soft + np.roll(soft, 1, 1) + np.roll(soft, 1, 2)) / 3 + np.random.default_rng(0).normal(0, 8, soft.shape)
    assert pair.judge(replace(blurred, frames=soft.clip(0, 255).astype(np.uint8))) == {"changed": True, "kept": True}


@pytest.mark.parametrize(
    ("edit", "wrong"),
    [
        ("colour", ball(colour="green")),
        ("kind", ball(kind="box")),
        ("pattern", ball(pattern="dots")),
        ("accessory", ball(accessory="glasses")),
        ("background", film(background="snow")),
        ("weather", film(weather="snowfall")),
        ("style", film(style="neon")),
        ("tone", film(tone="warm")),
        ("camera", film(move=CameraMove("pan-left", 0.3))),
    ],
)
def test_another_edit_does_not_pass(edit, wrong):
    assert not ExactPair(film(), EDITS[edit], LIKE).judge(shown(wrong))["changed"]


def test_what_is_not_asked_must_stay():
    """The right colour in another clip is no edit of this one."""
    elsewhere = ball(colour="blue").shots[0].scene
    other = film(replace(elsewhere, background="city", night=True, subjects=elsewhere.subjects[:1]))
    assert not ExactPair(film(), EDITS["colour"], LIKE).judge(shown(other))["kept"]


def test_what_no_prompt_says_is_free():
    """Far details of a new place, how far the camera goes, where drops fall."""
    assert ExactPair(film(), EDITS["background"], LIKE).judge(shown(film(background="desert", variant=60)))["changed"]
    assert ExactPair(film(), EDITS["camera"], LIKE).judge(shown(film(move=CameraMove("push-in", 1.75))))["changed"]
    verdict = ExactPair(film(), EDITS["weather"], LIKE).judge(shown(film(weather="rain", variant=9 + 77)))
    assert verdict["changed"]


def test_alternatives_follow_from_what_differs():
    labels = [each.label for each in alternatives(film(), EDITS["colour"])]
    assert labels[:2] == ["as asked", "as it was"]
    assert set(labels[2:]) == {f"colour {name}" for name in COLOURS if name != "blue"}
    places = alternatives(film(), EDITS["background"])
    assert {each.label for each in places[2:]} == {f"background {name}" for name in BACKGROUNDS}
    assert all(each.right == (each.label == "background desert") for each in places[2:])
    weathers = {each.label for each in alternatives(film(), EDITS["weather"])[2:]}
    assert weathers == {f"weather {name}" for name in WEATHERS if name != "rain"}
    assert {each.label for each in alternatives(film(), EDITS["camera"])[2:]} == {f"camera {m}" for m in CAMERA_MOVES}
    marked = film(overlay=Overlay("logo"))
    assert [each.label for each in alternatives(marked, film())] == ["as asked", "as it was"]
