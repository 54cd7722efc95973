"""Checkpoints behind the common surface: loaded from their folders, asked through the real command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import openreels
from openreels.cli.__main__ import main
from openreels.hardware import GPUS
from openreels.media import Clip
from openreels.media.recipe import Recipe
from openreels.pipelines.loading import unused
from openreels.pipelines.v3 import sizes
from openreels.pipelines.v3.extension import SkyReelsV3ExtensionPipeline
from openreels.pipelines.v3.loading import Layout, planned, save_diffusers
from openreels.pipelines.v3.planning import MODELS, estimates, job_of
from openreels.pipelines.v3.reel import V3Reel, hash_weights, placement_for, plain_prompt
from openreels.request import Request, RequestError

FAST = ("--steps", "1", "--resolution", "480p", "--aspect", "1:1", "--json")


@pytest.fixture(scope="module")
def folders(r2v, v2v, a2v, tmp_path_factory) -> dict[str, Path]:
    """Variant -> a folder as a converted checkpoint has it."""
    made = {}
    for variant, pipeline in (("r2v", r2v), ("v2v", v2v), ("a2v", a2v)):
        made[variant] = tmp_path_factory.mktemp("v3") / variant
        save_diffusers(pipeline.components, made[variant])
    return made


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    """480p means 64 x 64 here: the tables are data, everything that reads them is real."""
    for table in (sizes.P480, sizes.AREA_627):
        monkeypatch.setitem(table, 1.0, (64, 64))


@pytest.fixture
def files(make, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Clip(make.picture(64, 64)[None], 1).save("cat.png")
    make.clip(30).save("film.mp4")
    Clip(audio=make.tone(0.5, 16_000), sample_rate=16_000).save("voice.wav")
    return tmp_path


def run(capsys, *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_references_to_video(folders, files, capsys):
    made = run(capsys, "generate", "A @cat jumps", "-o", "a.mp4", "--model", folders["r2v"], "--ref", "cat=cat.png",
               "--duration", "1", *FAST)  # fmt: skip
    clip = Clip.open("a.mp4")
    assert clip.frames.shape == (24, 64, 64, 3) and clip.fps == 24 and clip.audio is None
    recipe = Recipe.from_metadata(clip.metadata)
    assert made["recipe"]["request"] == recipe.request
    assert recipe.request["references"] == [{"tag": "cat", "path": str(files / "cat.png")}]
    assert recipe.model == str(folders["r2v"]) and len(recipe.weights) == 16


def test_a_clip_goes_on_with_its_sound(folders, files, capsys):
    run(
        capsys,
        "extend",
        "film.mp4",
        "the ball falls",
        "-o",
        "a.mp4",
        "--model",
        folders["v2v"],
        "--duration",
        "1",
        *FAST,
    )
    clip = Clip.open("a.mp4")
    assert len(clip.frames) == 30 + 24 and clip.audio is not None


def test_a_portrait_speaks(folders, files, capsys):
    run(capsys, "avatar", "cat.png", "voice.wav", "-o", "a.mp4", "--model", folders["a2v"], *FAST)
    clip = Clip.open("a.mp4")
    assert clip.fps == 25 and len(clip.frames) == 13 and clip.duration == pytest.approx(0.5, abs=0.04)
    assert np.abs(clip.audio).max() > 0.1


MISTAKES = {
    "no reference": ("r2v", ["generate", "a cat"], "accepts the tasks r2v, not t2av"),
    "unknown tag": ("r2v", ["generate", "a @dog", "--ref", "cat=cat.png"], "@dog is no reference"),
    "five references": ("r2v", ["generate", "x", *(f"--ref=c{i}=cat.png" for i in range(5))], "1 to 4"),
    "too large": (
        "r2v",
        ["generate", "x", "--ref", "cat=cat.png", "--resolution", "1080p"],
        "480p, 540p, 720p, not 1080p",
    ),
    "not its task": ("a2v", ["extend", "film.mp4", "x"], "accepts the tasks a2v, not v2v"),
    "too long a shot": ("v2v", ["extend", "film.mp4", "x", "--transition", "cut-in", "--duration", "9"], "2 to 5"),
    "a silent voice": ("a2v", ["avatar", "cat.png", "cat.png"], "the audio of speaker 1 must be a file with sound"),
    "half of a place": ("a2v", ["avatar", "cat.png", "voice.wav@0,0,1"], "0,0,1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_file(folders, files, capsys, name):
    variant, arguments, sentence = MISTAKES[name]
    assert main([*arguments, "-o", "a.mp4", "--model", str(folders[variant])]) == 2
    shown = capsys.readouterr()
    *excerpt, said = shown.err.splitlines()  # a fault in the prompt is pointed at before it is named
    assert sentence in said and len(excerpt) == (2 if name == "unknown tag" else 0) and not shown.out
    assert not Path("a.mp4").exists()


def test_the_same_request_gives_the_same_clip(folders, files):
    reel = openreels.load(str(folders["r2v"]), device="cpu")
    assert isinstance(reel, V3Reel) and reel.capabilities.tasks == ("r2v",)
    reference = {"tag": "cat", "path": "cat.png"}
    request = Request.parse(
        {
            "prompt": "a @cat",
            "references": [reference],
            "duration": 1.0,
            "resolution": "480p",
            "aspect": "1:1",
            "steps": 1,
        }
    )
    first, again = reel(request), reel.generate_batch([request])[0]
    assert np.array_equal(first.frames, again.frames)
    assert first.metadata == again.metadata


def test_a_folder_without_the_shot_network_cannot_switch_shots(v2v, files, capsys):
    components = v2v.components | {"shot_transformer": None}
    save_diffusers(components, files / "one")
    assert V3Reel.from_pretrained(files / "one").capabilities.tasks == ("v2v",)
    with pytest.raises(ValueError, match="has the network for v2v, not that for v2v-shot"):
        openreels.load("one", device="cpu", tasks=["v2v-shot"])
    capsys.readouterr()
    assert main(["extend", "film.mp4", "x", "-o", "a.mp4", "--model", "one", "--transition", "cut-in"]) == 2
    assert "one accepts the tasks v2v, not v2v-shot" in capsys.readouterr().err


def test_weights_are_named_by_the_parts_in_use(tmp_path):
    """A second network that is fetched later leaves the name of the first as it was."""
    for name in ("transformer", "shot_transformer", "vae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    first, second, vae = (tmp_path / name for name in ("transformer", "shot_transformer", "vae"))
    name = hash_weights(tmp_path, [first, vae])
    (second / "config.json").write_text("{}")
    assert hash_weights(tmp_path, [vae, first]) == name
    assert hash_weights(tmp_path, [second, vae]) != name
    (vae / "model.safetensors").write_bytes(b"other")
    assert hash_weights(tmp_path, [first, vae]) != name


def test_only_files_of_a_task_are_fetched():
    v2v, r2v = MODELS["v2v"].hub_ids[0], MODELS["r2v"].hub_ids[0]
    assert unused(v2v, ["v2v-shot"]) == ["transformer/*.safetensors*"]
    assert unused(v2v, ["v2v"]) == unused(r2v, ["r2v"]) == ["shot_transformer/*.safetensors*"]
    assert unused(v2v, None) == unused(v2v, ["v2v", "v2v-shot"]) == unused("some/v4", ["v2v-shot"]) == []


def test_only_the_network_of_a_task_is_loaded(folders):
    for task, other in (("v2v", "shot_transformer"), ("v2v-shot", "transformer")):
        reel = openreels.load(str(folders["v2v"]), device="cpu", tasks=[task])
        assert reel.capabilities.tasks == (task,) and getattr(reel.pipeline, other) is None
    assert openreels.load(str(folders["v2v"]), device="cpu").capabilities.tasks == ("v2v", "v2v-shot")


def test_an_interrupted_command_goes_on(folders, files, capsys, monkeypatch):
    """Ctrl-C in the second of two passes: the same command finds the first, and leaves nothing behind."""
    command = ["extend", "film.mp4", "x", "-o", "a.mp4", "--model", str(folders["v2v"]), "--duration", "11", *FAST]
    sample, drawn = SkyReelsV3ExtensionPipeline.sample, []

    def interrupted(self, *arguments):
        drawn.append(arguments)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return sample(self, *arguments)

    monkeypatch.setattr(SkyReelsV3ExtensionPipeline, "sample", interrupted)
    assert main(command) == 130
    assert not Path("a.mp4").exists() and len(list(Path("a.mp4.work").glob("*/*"))) == 1
    assert main(command) == 0
    assert len(drawn) == 2 + 1 and Path("a.mp4").exists() and not Path("a.mp4.work").exists()


@pytest.mark.parametrize("variant", ["r2v", "v2v", "a2v"])
def test_components_are_placed_as_memory_allows(variant):
    model = MODELS[variant]
    small, large = placement_for(model, 24e9), placement_for(model, 141e9)
    assert (small.where, large.where) == ("group", "resident")
    assert placement_for(model, 1e9).weights == "bf16"
    assert placement_for(replace(MODELS["v2v"], transformers=2), 60e9).where != "resident"


def test_a_plan_of_a_folder(folders, files, capsys):
    made = run(capsys, "plan", folders["v2v"], "--new-shot", "--json")
    assert made["model"] == "v2v-shot"
    assert made["parameters"]["transformer"] < 1e6  # the tiny network in the folder, not the released one


def test_tags_become_words():
    cat = {"tag": "cat", "path": "x.png"}
    assert plain_prompt(Request.parse({"prompt": "@cat and a dog", "references": [cat]})) == "cat and a dog"
    assert plain_prompt(Request(prompt="mail me@home")) == "mail me@home"
    assert plain_prompt(Request.parse({"prompt": "@cat在跑", "references": [cat]})) == "cat在跑"
    actor = {"tag": "Actor-0", "path": "x.png"}
    assert plain_prompt(Request.parse({"prompt": "(@Actor-0) sits", "references": [actor]})) == "(Actor-0) sits"
    with pytest.raises(RequestError, match=r"@dog is no reference; given are @cat"):
        plain_prompt(Request.parse({"prompt": "@dog", "references": [cat]}))


def test_a_plan_of_a_quantised_folder(tmp_path):
    """9 GB of GGUF for 14.3 B parameters: weights stay so, and take less than in 16 bits wherever they are."""
    with (tmp_path / "r2v-Q4.gguf").open("wb") as file:
        file.truncate(9 * 10**9)  # sparse: only its size is looked at
    model = planned(Layout(tmp_path, "r2v", True, {}, {"transformer": tmp_path}))
    assert model.stored == pytest.approx(0.6, abs=0.1)
    found = estimates(job_of(model), GPUS["4090"])
    assert {each.placement.weights for each in found} == {"gguf"}
    plain = estimates(job_of("r2v"), GPUS["4090"])
    assert found[0].placement.where == plain[0].placement.where == "resident"
    assert found[0].peak_vram < plain[0].peak_vram - 15e9
