"""Shots of films whose cuts are known, at any size, rate and after any codec; bad input; a missing library."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from openreels.media import Clip
from openreels.request import RequestError
from openreels.shots import CUT_KINDS, SINGLE_SHOT, detect_shots
from openreels.shots.boundaries import candidates, working_frames
from openreels.shots.classifier import WEIGHTS, CutClassifier, shipped_classifier
from openreels.shots.detector import _apart
from openreels.shots.features import FEATURES, features, standouts
from openreels.world import CUTS, cut_frames, film_frames, sample_film


def test_the_kinds_are_those_of_the_world_and_of_requests():
    from typing import get_args

    from openreels.request import Transition

    assert CUT_KINDS == CUTS
    assert {*CUT_KINDS, "none", "auto"} == set(get_args(Transition))


def test_shots_of_a_film_follow_one_another(shown):
    _, frames, cuts = shown(0, "cut-in", "multi-angle")
    shots = detect_shots(frames, 16)
    assert [shot.first for shot in shots[1:]] == list(cuts)
    assert shots[0].first == 0 and shots[-1].last == len(frames)
    assert (shots[0].cut, shots[0].confidence) == (SINGLE_SHOT, 1.0)
    for shot, following in pairwise(shots):
        assert shot.last == following.first and following.cut in CUT_KINDS and 0 < following.confidence <= 1
    assert [(shot.start, shot.end) for shot in shots] == [(shot.first / 16, shot.last / 16) for shot in shots]


def test_the_same_film_large_is_cut_at_the_same_places():
    film = sample_film(1, cuts=["cut-out"], aspect=16 / 9, split="held_out")
    (cut,) = cut_frames(film, 16)
    for height, width in ((64, 114), (720, 1280)):
        frames = film_frames(film, fps=16, height=height, width=width, first=cut - 4, last=cut + 4).numpy()
        shots = detect_shots(frames, 16)
        assert [shot.first for shot in shots] == [0, 4] and shots[1].cut == "cut-out"


def test_a_codec_changes_little(shown, tmp_path):
    _, frames, cuts = shown(2, "shot-reverse-shot")
    Clip(frames, 16).save(tmp_path / "film.mp4")
    shots = detect_shots(Clip.open(tmp_path / "film.mp4").frames, 16)
    assert [shot.first for shot in shots[1:]] == list(cuts)
    assert shots[1].cut == "shot-reverse-shot"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_what_does_not_change_is_one_shot(still, count):
    (shot,) = detect_shots(still((0.3, 0.3, 0.6, 0.8), count=count), 24)
    assert (shot.first, shot.last, shot.end) == (0, count, count / 24)


def test_noise_is_survived():
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8)
    shots = detect_shots(noise, 12)
    assert shots[-1].last == 12


@pytest.mark.parametrize(
    ("frames", "fps", "sentence"),
    [
        (np.zeros((4, 8, 8), np.uint8), 16, r"frames must be \(T, H, W, 3\) uint8"),
        (np.zeros((4, 8, 8, 3), np.float32), 16, "not .* float32"),
        (np.zeros((0, 8, 8, 3), np.uint8), 16, "frames must be"),
        (np.zeros((4, 8, 8, 3), np.uint8), 0, "fps must be above 0, not 0"),
    ],
)
def test_bad_input_is_one_sentence(frames, fps, sentence):
    with pytest.raises(ValueError, match=sentence):
        detect_shots(frames, fps)


@pytest.mark.parametrize("module", ["cv2", "scenedetect"])
def test_a_missing_library_is_named_with_its_extra(still, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=r"pip install 'openreels\[shots\]'"):
        detect_shots(still(height=128), 16)


# -- its parts --------------------------------------------------------------------------------------------------------


def test_no_cut_is_missed_before_it_is_named(shown):
    for seed, kind in enumerate(CUT_KINDS * 3):
        _, frames, cuts = shown(seed, kind)
        found = candidates(frames, 16)
        assert any(abs(cuts[0] - each) <= 1 for each in found), (seed, kind)


def test_large_frames_are_shrunk_and_small_ones_left():
    assert working_frames(np.zeros((2, 720, 1280, 3), np.uint8)).shape == (2, 64, 114, 3)
    small = np.zeros((2, 48, 64, 3), np.uint8)
    assert working_frames(small) is small


def test_features_are_finite_and_tell_near_from_far(still):
    far, near = still((0.4, 0.4, 0.6, 0.6)), still((0.3, 0.3, 0.7, 0.7))
    both = {}
    for name, pair in {"in": (far, near), "out": (near, far), "same": (far, far)}.items():
        both[name] = features(np.concatenate([pair[0][:2], pair[1][:2]]))
        assert both[name].shape == (FEATURES,) and both[name].dtype == np.float32 and np.isfinite(both[name]).all()
    assert not np.allclose(both["in"], both["out"])


def test_what_stands_out_is_measured(still):
    (found,) = standouts(still((0.25, 0.25, 0.5, 0.75))[0])
    assert found.area == pytest.approx(0.125, rel=0.1)
    assert (found.x, found.y) == (pytest.approx(0.375, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert standouts(still()[0]) == []
    assert len(standouts(still((0.25, 0.2, 0.4, 0.8), (0.6, 0.2, 0.7, 0.8))[0])) == 2


def test_of_two_close_cuts_the_surer_is_kept():
    cuts = [(10, "cut-in", 0.6), (12, "cut-out", 0.9), (30, "cut-in", 0.5)]
    assert _apart(cuts, 3.2) == cuts[1:]
    assert _apart(cuts, 1.0) == cuts


def test_weights_are_small_and_come_back_from_a_file(tmp_path):
    from importlib.resources import files

    assert (files("openreels.shots") / WEIGHTS).stat().st_size < 300_000
    shipped_classifier().save(tmp_path / "copy.safetensors")
    again = CutClassifier.load(tmp_path / "copy.safetensors")
    for name, tensor in shipped_classifier().state_dict().items():
        assert tensor.equal(again.state_dict()[name])
