"""`openreels inspect CLIP --shots`."""

import json
from fractions import Fraction

import numpy as np
import pytest

from openreels.media import Clip

pytest.importorskip("scenedetect", reason="the extra `shots` is not installed")


@pytest.fixture
def film(tmp_path, monkeypatch):
    """Two plain shots of a second each."""
    monkeypatch.chdir(tmp_path)
    frames = np.full((48, 64, 64, 3), 210, np.uint8)
    frames[24:, :, :] = (30, 60, 30)
    frames[:24, 20:44, 20:44], frames[24:, 40:60, 8:30] = (220, 40, 40), (250, 220, 40)
    Clip(frames, Fraction(24)).save("film.mp4")


def test_shots_for_people_and_as_json(film, openreels):
    outcome = openreels("inspect", "film.mp4", "--shots")
    assert (outcome.code, outcome.err) == (0, "")
    assert "shots.1" in outcome.out and "0.00 to 1.00 s" in outcome.out
    assert "1.00 to 2.00 s, after a " in outcome.out and "% sure)" in outcome.out
    shots = json.loads(openreels("inspect", "film.mp4", "--shots", "--json").out)["shots"]
    assert [(shot["first"], shot["last"]) for shot in shots] == [(0, 24), (24, 48)]
    assert shots[0]["cut"] == "single-shot" and 0 < shots[1]["confidence"] <= 1


def test_without_the_flag_nothing_is_looked_for(film, openreels):
    assert "shots" not in json.loads(openreels("inspect", "film.mp4", "--json").out)


def test_a_sound_has_no_shots(tmp_path, monkeypatch, openreels):
    monkeypatch.chdir(tmp_path)
    Clip(audio=np.zeros((1, 1600), np.float32), sample_rate=16_000).save("voice.wav")
    outcome = openreels("inspect", "voice.wav", "--shots")
    assert outcome.code == 2 and "voice.wav holds sound alone, so it has no shots" in outcome.err
