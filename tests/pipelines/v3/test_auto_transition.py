"""`transition="auto"`, from the pipeline's keyword and from the real command line to the recipe in the file."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from openreels.cli.__main__ import main
from openreels.media import Clip
from openreels.media.recipe import Recipe
from openreels.pipelines.v3 import sizes
from openreels.pipelines.v3.loading import save_diffusers

SIZE = {"height": 32, "width": 48, "num_inference_steps": 1, "duration": 2, "output_type": "latent"}


@pytest.fixture(scope="module")
def film():
    """A clip of one shot whose subject is small."""
    frames = np.full((30, 32, 48, 3), 150, np.uint8)
    frames[:, 14:20, 20:26] = (220, 40, 40)
    return Clip(frames, Fraction(24))


@pytest.mark.parametrize(
    ("prompt", "transition"),
    [("a close-up of the box", "cut-in"), ("a red box", None), ("cut to the red box", "cut-in")],
)
def test_auto_is_what_it_stands_for(v2v, film, prompt, transition):
    made = v2v(film, prompt, transition="auto", **SIZE).frames
    assert made.equal(v2v(film, prompt, transition=transition, **SIZE).frames)


def test_a_length_that_no_new_shot_has_goes_on(v2v, film):
    wish = SIZE | {"duration": 1}
    made = v2v(film, "cut to the red box", transition="auto", **wish).frames
    assert made.equal(v2v(film, "cut to the red box", **wish).frames)


def test_an_unknown_transition_names_auto_too(v2v, film):
    with pytest.raises(ValueError, match=r"none, cut-in, .* cut-away, auto, or None, not 'fade'"):
        v2v(film, "x", transition="fade", **SIZE)


def test_the_decision_is_shown_and_kept(v2v, film, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sizes.P480, 1.0, (64, 64))
    monkeypatch.chdir(tmp_path)
    save_diffusers(v2v.components, tmp_path / "v2v")
    film.save("film.mp4")
    capsys.readouterr()  # bars of the libraries that save
    common = ["--model", "v2v", "--steps", "1", "--resolution", "480p", "--aspect", "1:1", "--duration", "2", "--json"]
    assert main(["extend", "film.mp4", "cut to the red box", "-o", "a.mp4", "--transition", "auto", *common]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith('openreels: transition cut-in: the prompt says "cut to", and the subject fills')
    assert shown.err.count("\n") == 1
    recipe = Recipe.from_metadata(Clip.open("a.mp4").metadata)
    assert recipe.request["transition"] == "cut-in" == json.loads(shown.out)["recipe"]["request"]["transition"]
    assert main(["replay", "a.mp4", "-o", "b.mp4"]) == 0
    assert np.array_equal(Clip.open("a.mp4").frames, Clip.open("b.mp4").frames)
