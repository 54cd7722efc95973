"""`openreels train`: what it refuses before anything is trained, and one part trained for real."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from openreels.media import Clip
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.recipes import RECIPES, pocket, v4_phases
from openreels.training import latents
from openreels.training.sharded.world_data import WorldData

BUDGET = ("--steps", "1")
MISTAKES = {
    "no recipe": ([], "Missing argument 'RECIPE' (see openreels train --help)"),
    "recipe": (["big", *BUDGET], "RECIPE must be one of pocket, pocket-gpu, v4, not 'big'"),
    "no budget": (["pocket"], "training needs a budget: --minutes or --steps; or --export"),
    "minutes below 0": (["pocket", "--minutes", "-1"], "--minutes must be a number above 0, not '-1'"),
    "minutes text": (["pocket", "--minutes", "soon"], "--minutes must be a number above 0, not 'soon'"),
    "minutes nan": (["pocket", "--minutes", "nan"], "--minutes must be a number above 0, not 'nan'"),
    "steps 0": (["pocket", "--steps", "0"], "--steps must be a whole number from 1 to 1,000,000,000, not '0'"),
    "steps 1.5": (["pocket", "--steps", "1.5"], "--steps must be a whole number from 1 to 1,000,000,000, not '1.5'"),
    "processes": (["pocket", *BUDGET, "--processes", "0"], "--processes must be a whole number from 1 to 1,024"),
    "seed": (
        ["pocket", *BUDGET, "--seed", "x" * 200],
        "--seed must be a whole number from 0 to 2,147,483,648, not 200",
    ),
    "device": (["pocket", *BUDGET, "--device", "tpu"], "--device must be one of cpu, cuda, not 'tpu'"),
    "part": (["pocket", *BUDGET, "--part", "legs"], "--part must be one of video_codec, audio_codec, text_encoder, "),
    "part too early": (
        ["pocket", *BUDGET, "--part", "joint"],
        "--part joint needs video_codec, audio_codec, text_encoder, following, not yet trained in runs/pocket",
    ),
    "latents too early": (["pocket", *BUDGET, "--part", "latents"], "--part latents needs video_codec, audio_codec, "),
    "export too early": (
        ["pocket", "--export", "out", "--workdir", "run"],
        "--export needs video_codec, audio_codec, text_encoder, everything, not yet trained in run",
    ),
    "export of one part": (
        ["pocket", *BUDGET, "--part", "video_codec", "--export", "out"],
        "--export needs audio_codec",
    ),
    "start from nothing": (
        ["pocket", *BUDGET, "--part", "joint", "--start-from", "nowhere"],
        "--start-from must be a folder of exported weights, not 'nowhere'",
    ),
    "start with no stage": (
        ["pocket", *BUDGET, "--part", "latents", "--start-from", "nowhere"],
        "--start-from needs a budget and --part with one of ",
    ),
    "v4: part": (["v4", *BUDGET, "--part", "joy"], "there is no phase 'joy'; the phases are video-1, "),
    "v4: preset": (["v4", *BUDGET, "--preset", "huge"], "there is no preset 'huge'; there are full, "),
    "v4: preset without data": (["v4", *BUDGET, "--preset", "mid"], "preset mid needs a folder of cached latents"),
    "v4: data": (["v4", *BUDGET, "--data", "."], "data must be a folder of cached latents with an index.json, not '.'"),
    "v4: learns": (
        ["v4", *BUDGET, "--part", "audio", "--learns", "cross"],
        "phase audio learns audio, none of which is to be trained",
    ),
    "v4: export": (["v4", *BUDGET, "--export", "out"], "--export is not for v4: each phase leaves its weights in "),
    "workdir": (
        ["pocket", *BUDGET, "--workdir", "text.txt"],
        "text.txt cannot be written: file exists; accepted is a f",
    ),
    "export folder": (["pocket", *BUDGET, "--export", "/proc/x", "--workdir", "."], "/proc/x cannot be written: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_nothing_is_left(openreels, name):
    arguments, sentence = MISTAKES[name]
    Path("text.txt").write_text("just words")
    outcome = openreels("train", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"openreels: {sentence}")
    assert outcome.err.endswith(".\n")
    assert outcome.err.count("\n") == 1
    assert list(map(str, Path().iterdir())) == ["text.txt"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(openreels):
    outcome = openreels("train", "pocket", *BUDGET, "--device", "cuda")
    assert outcome.code == 2
    assert outcome.err == "openreels: --device cuda needs a GPU that torch can use, and there is none.\n"


def test_one_part_is_interrupted_and_goes_on(openreels):
    part = ("train", "pocket", "--part", "text_encoder", "--workdir", "run")
    outcome = openreels(*part, "--steps", "1000", "--minutes", "0.0001")
    assert (outcome.code, outcome.err) == (0, "")
    assert "minutes are over at step 1 of 1000; the same command goes on from there" in outcome.out
    assert not Path("run/text_encoder").exists()

    outcome = openreels(*part, "--steps", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert "text_encoder: resumed at step 1 of 2" in outcome.out
    assert json.loads(Path("run/text_encoder.jsonl").read_text())["step"] == 2
    assert Path("run/text_encoder/model.safetensors").is_file()


@pytest.fixture
def few_clips(monkeypatch) -> None:
    """The pocket world of the phases, made of stills alone and few of them."""
    data = WorldData(Path(v4_phases.__file__).parents[1] / "weights" / "pocket", shards=1)
    monkeypatch.setattr(v4_phases, "WorldData", lambda components: replace(data, components=components))
    monkeypatch.setattr(latents, "SHARD", 2)


def test_a_phase_of_the_schedule_is_trained_at_pocket_size(few_clips, openreels):
    outcome = openreels("train", "v4", "--part", "video-1", "--steps", "1", "--batch", "1", "--workdir", "run")
    assert (outcome.code, outcome.err) == (0, "")
    assert "video-1 1/1" in outcome.out
    assert Path("run/video-1-weights/config.json").is_file()


@pytest.fixture
def tiny_recipe(monkeypatch) -> None:
    """A recipe called "tiny", whose transformer has the sizes of `tiny_pipeline`."""

    def transformer(video_channels: int, audio_channels: int, text_dim: int) -> SkyReelsV4Transformer:
        sizes = (video_channels, audio_channels, text_dim, 2, (4, 6, 6), 1, 1)
        return SkyReelsV4Transformer(*sizes, modulation_rank=4, time_bias_slope=1.0)

    recipe = ModuleType("tiny_recipe")
    recipe.plan = lambda: replace(pocket.tiny_plan(), transformer=transformer)
    recipe.export = pocket.export
    monkeypatch.setitem(sys.modules, "tiny_recipe", recipe)
    monkeypatch.setitem(RECIPES, "tiny", "tiny_recipe")
    monkeypatch.setattr(latents, "SHARD", 4)


def test_weights_go_on_learning_are_exported_and_generate(tiny_recipe, weights, openreels):
    joint = ("train", "tiny", "--part", "joint", "--start-from", str(weights), "--export", "out")
    outcome = openreels(*joint, "--steps", "9", "--minutes", "0.0001")
    assert outcome.code == 1
    assert outcome.err == "openreels: warning: nothing was written to out, for the training is not finished.\n"
    outcome = openreels(*joint, "--steps", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert "joint 2/2" in outcome.out
    assert outcome.out.endswith("out: weights written\n")
    assert Path("runs/tiny/joint.png").is_file()

    outcome = openreels("generate", "a ball", "-o", "a.mp4", "--model", "out", "--duration", "1", "--steps", "1")
    assert (outcome.code, outcome.err) == (0, "")
    assert Clip.open("a.mp4").frames.shape == (16, 64, 64, 3)
