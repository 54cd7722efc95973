"""No drift in the world's own films, and the drift that is put in is found."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from openreels.evaluation.drift import Drift, cut, measure_drift, slope, window_starts
from openreels.media import Clip
from openreels.world import render, sample_scene

SECONDS, FPS = 8.0, 16


@pytest.fixture(scope="module")
def films(one_thread) -> list[Clip]:
    """Eight seconds each, of one subject; the second one talks all the time."""
    found, number = [], 0
    for wanted in (lambda s: s.subjects[0].motion.kind == "orbit", lambda s: s.subjects[0].speech is not None):
        while True:
            scene = sample_scene(number, duration=SECONDS, split="held_out")
            number += 1
            if len(scene.subjects) == 1 and wanted(scene):
                found.append(scene)
                break
    made = render(found, frames=int(SECONDS * FPS), height=64, width=64, fps=FPS)
    return [
        Clip(frames.numpy(), Fraction(FPS), sound[None].numpy(), made.sample_rate)
        for frames, sound in zip(made.frames, made.audio, strict=True)
    ]


@pytest.fixture(scope="module")
def true(films) -> list[Drift]:
    return [measure_drift(film) for film in films]


def reddened(film: Clip, per_second: float) -> Clip:
    time_T = np.arange(len(film.frames)) / FPS
    frames = film.frames + time_T[:, None, None, None] * np.array([per_second, -per_second, 0.0])
    return replace(film, frames=frames.clip(0, 255).round().astype(np.uint8))


def test_true_films_do_not_drift(true):
    for drift in true:
        assert len(drift.windows) == 4
        assert drift.same_at_ends is True
        assert drift.picture_slope < 0.2
        assert drift.subject_slope < 0.4
        assert drift.identity_slope == pytest.approx(0, abs=1e-9)
    assert abs(true[1].sync_slope) < 0.05


def test_a_colour_that_drifts_is_found(films, true):
    drift = measure_drift(reddened(films[0], 1.5))
    assert drift.picture_slope == pytest.approx(1.5 * 2**0.5, rel=0.15)
    assert drift.subject_slope > true[0].subject_slope + 1.0


def test_a_subject_that_becomes_another_is_found(films):
    """The first half of one film, the second of another."""
    half = SECONDS / 2
    first, second = cut(films[0], 0, half), cut(films[1], half, SECONDS)
    joined = replace(
        films[0],
        frames=np.concatenate([first.frames, second.frames]),
        audio=np.concatenate([first.audio, second.audio], axis=1),
    )
    drift = measure_drift(joined)
    assert drift.same_at_ends is False
    assert drift.identity_slope < -0.1
    assert [window.identity for window in drift.windows] == [1, 1, 0, 0]


def test_sound_that_runs_away_is_found(films, true):
    """Later and later: 40 ms more each second, which is out of step by the end."""
    film = films[1]
    samples = film.audio.shape[1]
    shifted = np.interp(np.arange(samples) * 0.96, np.arange(samples), film.audio[0]).astype(np.float32)
    drift = measure_drift(replace(film, audio=shifted[None]))
    assert drift.sync_slope < true[1].sync_slope - 0.03


def test_a_clip_of_nothing_known_has_the_colour_of_its_picture():
    frames = np.arange(0, 128, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(64, 2).repeat(3, 3)
    drift = measure_drift(Clip(frames, Fraction(FPS)))
    assert drift.picture_slope == pytest.approx(16 * 3**0.5, rel=1e-3)
    assert drift.subject_slope is drift.identity_slope is drift.sync_slope is None
    assert drift.same_at_ends is None


def test_a_sound_alone_is_refused():
    with pytest.raises(ValueError, match="a sound alone"):
        measure_drift(Clip(audio=np.zeros((1, 100), np.float32), sample_rate=100))


@pytest.mark.parametrize(("duration", "count"), [(0.5, 1), (2.0, 1), (2.5, 2), (8.0, 4), (60.0, 30)])
def test_windows_reach_from_end_to_end(duration, count):
    starts = window_starts(duration)
    assert (len(starts), starts[0], starts[-1]) == (count, 0, max(duration - 2, 0))


def test_slope():
    assert slope([0, 1, 2, 3], [1.0, None, 2.0, 2.5]) == pytest.approx(0.5)
    assert slope([0, 2], [(0.0, 0.0, 0.0), (6.0, 8.0, 0.0)]) == pytest.approx(5.0)
    assert slope([0, 1], [1.0, None]) is None


def test_inspect_prints_it(films, openreels):
    cut(films[0], 0, 4).save("a.mp4")
    found = json.loads(openreels("inspect", "a.mp4", "--drift", "--json").out)["drift"]
    assert (found["same_at_ends"], len(found["windows"])) == (True, 2)
    assert found["picture_slope"] < 0.5
    table = openreels("inspect", "a.mp4", "--drift").out
    assert "drift.identity_slope  0.0" in table
    assert "drift.same_at_ends    True" in table
