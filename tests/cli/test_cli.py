import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openreels.media import Clip
from openreels.media.recipe import Recipe

PROMPT = "A red rubber ball bounces on the grass [slowly]"
SECOND = ("--duration", "1")

# -- what works -------------------------------------------------------------------------------------------------------


def test_generate(pocket, openreels):
    flags = ("--seed", "7", "--duration", "1.5", "--aspect", "16:9", "--no-enhance")
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *flags)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(
        "a.mp4: Clip(1.50 s, 24 frames of 114 x 64 at 16 fps, sound of 1 x 16,000 Hz), made in"
    )
    clip = Clip.open("a.mp4")
    assert clip.frames.shape == (24, 64, 114, 3)
    assert clip.audio.shape == (1, 24_000)
    recipe = Recipe.from_metadata(clip.metadata)
    assert (recipe.request["prompt"], recipe.request["seed"]) == (PROMPT, 7)
    assert (recipe.model, recipe.weights) == ("pocket", pocket.weight_hash)
    assert pocket.loads == [pocket.folder]


@pytest.mark.parametrize(
    ("flags", "name", "has_video", "has_audio"),
    [([], "a.mp4", True, True), (["--no-audio"], "a.mp4", True, False), (["--audio-only"], "a.wav", False, True)],
)
def test_modalities(pocket, openreels, flags, name, has_video, has_audio):
    assert openreels("generate", PROMPT, "-o", name, *SECOND, *flags).code == 0
    clip = Clip.open(name)
    assert (clip.frames is not None, clip.audio is not None) == (has_video, has_audio)
    assert clip.duration == 1


def test_flags_reach_the_model(pocket, openreels):
    made = {}
    for flags in ("", "--seed 1", "--guidance 9", "--negative grass", "--steps 1"):
        openreels("generate", PROMPT, "-o", "a.wav", "--audio-only", *SECOND, *flags.split())
        made[Clip.open("a.wav").audio.tobytes()] = flags
    assert len(made) == 5


def test_json(pocket, openreels):
    outcome = openreels("generate", "红色的球", "-o", "a.mp4", "--json")
    result = json.loads(outcome.out)
    assert outcome.err == ""
    assert result["output"] == "a.mp4"
    assert (result["frames"], result["fps"], result["duration"]) == (32, "16", 2.0)
    assert result["recipe"]["request"]["prompt"] == "红色的球"
    assert result["recipe"] == dataclasses.asdict(Recipe.from_metadata(Clip.open("a.mp4").metadata))


@pytest.mark.parametrize("suffix", [".mp4", ".wav"])
def test_a_replay_is_bit_identical(pocket, openreels, suffix):
    flags = ["--audio-only"] if suffix == ".wav" else []
    openreels(
        "generate", PROMPT, "-o", f"a{suffix}", "--seed", "3", "--steps", "5", "--guidance", "2.5", *SECOND, *flags
    )
    outcome = openreels("replay", f"a{suffix}", "-o", f"b{suffix}")
    assert (outcome.code, outcome.err) == (0, "")
    assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()


def test_a_replay_warns_when_something_changed(pocket, openreels, with_changed):
    openreels("generate", PROMPT, "-o", "a.mp4", *SECOND)
    before = pocket.weight_hash
    pocket.folder = with_changed(pocket.folder, "transformer", lambda tensor: tensor * 1.5)
    outcome = openreels("replay", "a.mp4", "-o", "b.mp4")
    assert outcome.code == 0
    assert outcome.err == (
        f"openreels: warning: the clip may come out different: weights {before}, now {pocket.weight_hash}.\n"
    )
    assert not np.array_equal(Clip.open("a.mp4").frames, Clip.open("b.mp4").frames)


def test_a_model_in_a_folder(pocket, openreels, with_changed):
    folder = with_changed(pocket.folder, "transformer", lambda tensor: tensor * 1.5)
    assert openreels("generate", PROMPT, "-o", "a.wav", "--audio-only", *SECOND, "--model", str(folder)).code == 0
    assert Recipe.from_metadata(Clip.open("a.wav").metadata).model == str(folder)
    assert openreels("replay", "a.wav", "-o", "b.wav").code == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_inspect(pocket, openreels):
    openreels("generate", PROMPT, "-o", "a.mp4", "--seed", "7", *SECOND)
    facts = json.loads(openreels("inspect", "a.mp4", "--json").out)
    assert (facts["video_codec"], facts["audio_codec"]) == ("h264", "aac")
    assert (facts["frames"], facts["fps"], facts["height"], facts["width"]) == (16, "16", 64, 64)
    assert facts["recipe"]["request"]["seed"] == 7
    table = openreels("inspect", "a.mp4").out
    assert "recipe.request.prompt" in table
    assert "[slowly]" in table  # no markup


def test_inspect_levels(openreels):
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000, dtype=np.float32)
    Clip(audio=tone[None], sample_rate=16_000).save("a.wav")
    facts = json.loads(openreels("inspect", "a.wav", "--json").out)
    assert facts["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    assert facts["loudness_lufs"] == pytest.approx(-9.0, abs=0.2)


def test_inspect_silence(openreels):
    Clip(audio=np.zeros((1, 16_000), np.float32), sample_rate=16_000, metadata={"title": "hush"}).save("a.wav")
    facts = json.loads(openreels("inspect", "a.wav", "--json").out)
    assert facts["loudness_lufs"] is facts["peak_dbfs"] is None
    assert facts["metadata"] == {"title": "hush"}


def test_models(openreels):
    listed = json.loads(openreels("models", "--json").out)
    assert listed[0]["name"] == "pocket"
    assert listed[0]["fps"] == "16"
    assert "t2av" in openreels("models").out


def test_no_arguments_is_help(openreels):
    outcome = openreels()
    assert outcome.code == 0
    assert "generate" in outcome.out


def test_progress_goes_to_a_terminal_only(pocket, openreels, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    steps = []
    monkeypatch.setattr("rich.progress.Progress.update", lambda self, task, **fields: steps.append(fields.get("steps")))
    openreels("generate", PROMPT, "-o", "a.mp4", *SECOND)
    assert steps == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]
    steps.clear()
    openreels("generate", PROMPT, "-o", "a.mp4", *SECOND, "--json")
    assert not steps


# -- what is refused --------------------------------------------------------------------------------------------------

LONG = "x" * 10_000
MISTAKES = {
    "no prompt": (["generate", "-o", "a.mp4"], "Missing argument 'PROMPT'"),
    "no output": (["generate", "x"], "Missing option '-o' / '--output'"),
    "empty prompt": (
        ["generate", "", "-o", "a.mp4"],
        "prompt must be text of 1 to 4,000 characters, not an empty text",
    ),
    "long prompt": (["generate", LONG, "-o", "a.mp4"], "prompt must be text of 1 to 4,000 characters, not 10,000 char"),
    "duration 0": (["generate", "x", "-o", "a.mp4", "--duration", "0"], "duration must be a number of seconds above 0"),
    "duration 1000": (["generate", "x", "-o", "a.mp4", "--duration", "1000"], "up to 200, not '1000'"),
    "duration 30": (
        ["generate", "x", "-o", "a.wav", "--audio-only", "--duration", "30"],
        "pocket accepts durations of 1 to 4 s, not 30",
    ),
    "seed text": (["generate", "x", "-o", "a.mp4", "--seed", "text"], "seed must be a whole number from 0 to 2^63 - 1"),
    "aspect": (["generate", "x", "-o", "a.mp4", "--aspect", "2:1"], "aspect must be one of 16:9, 4:3, 1:1, 3:4, 9:16"),
    "resolution": (["generate", "x", "-o", "a.mp4", "--resolution", "big"], "resolution must be an even number"),
    "720p": (["generate", "x", "-o", "a.mp4", "--resolution", "720p"], "accepts resolutions of 64p, not 720p; no inst"),
    "steps": (["generate", "x", "-o", "a.mp4", "--steps", "1.5"], "steps must be a whole number from 1 to 1,000"),
    "guidance": (["generate", "x", "-o", "a.mp4", "--guidance", "inf"], "guidance must be a number from 0 to 30"),
    "model": (["generate", "x", "-o", "a.mp4", "--model", "big"], "model must be one of pocket, a folder or a hub id"),
    "empty folder": (["generate", "x", "-o", "a.mp4", "--model", "."], "the model . cannot be loaded: "),
    "no such folder": (["generate", "x", "-o", "a.mp4", "--model", "./big"], "a folder or a hub id, not './big'"),
    "shift of pocket": (["generate", "x", "-o", "a.mp4", "--shift", "5"], "pocket accepts no choice of shift, not 5"),
    "reference without a tag": (["generate", "x", "-o", "a.mp4", "--ref", "cat.png"], "--ref must be TAG=PATH"),
    "no such reference": (["generate", "x", "-o", "a.mp4", "--ref", "cat=cat.png"], "cat.png"),
    "pocket extends": (
        ["extend", "stranger.wav", "x", "-o", "a.mp4", "--model", "pocket"],
        "video must be a picture or a clip, not ",
    ),
    "no such portrait": (["avatar", "me.png", "stranger.wav", "-o", "a.mp4", "--model", "pocket"], "me.png"),
    "no such transition": (
        ["extend", "stranger.wav", "x", "-o", "a.mp4", "--model", "pocket", "--transition", "fade"],
        "transition must be one of none, cut-in",
    ),
    "both": (["generate", "x", "-o", "a.mp4", "--no-audio", "--audio-only"], "--no-audio and --audio-only together"),
    "unknown flag": (["generate", "x", "-o", "a.mp4", "--sed", "1"], "No such option: --sed, did you mean --"),
    "unknown verb": (["genrate", "x"], "No such command 'genrate', did you mean 'generate'?"),
    "no folder": (["generate", "x", "-o", "nowhere/a.mp4"], "there is no folder nowhere"),
    "unwritable": (["generate", "x", "-o", "/proc/a.mp4"], "/proc/a.mp4 cannot be written"),
    "unknown extension": (
        ["generate", "x", "-o", "a.xyz"],
        "a.xyz cannot hold a video; accepted are names that end in",
    ),
    "sound as video": (["generate", "x", "-o", "a.mp4", "--audio-only"], "a.mp4 cannot hold a sound"),
    "replay nothing": (["replay", "a.mp4", "-o", "b.mp4"], "a.mp4 does not exist"),
    "replay a stranger": (["replay", "stranger.wav", "-o", "b.wav"], "stranger.wav carries no recipe"),
    "inspect nothing": (["inspect", "a.mp4"], "a.mp4 does not exist"),
    "inspect text": (["inspect", "text.mp4"], "text.mp4 is damaged or not media"),
    "inspect a folder": (["inspect", "."], ". is a folder"),
    "world count": (["world", "preview", "--count", "0"], "--count must be a whole number from 1 to 1,000, not '0'"),
    "world seed": (["world", "preview", "--seed", ""], "--seed must be a whole number from 0 to 9,223,372,036,854,775"),
    "world folder": (["world", "preview", "-o", "text.mp4"], "text.mp4 cannot be written"),
    "world alone": (["world"], "Missing command"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_file(pocket, openreels, name):
    arguments, sentence = MISTAKES[name]
    Path("text.mp4").write_text("just words")
    Clip(audio=np.zeros((1, 1_000), np.float32), sample_rate=16_000).save("stranger.wav")
    outcome = openreels(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert sentence in outcome.err
    assert outcome.err.startswith("openreels: ")
    assert outcome.err.endswith(".\n")
    assert outcome.err.count("\n") == 1
    assert "Invalid value" not in outcome.err
    assert not pocket.loads or name == "empty folder"  # known by trying
    assert sorted(map(str, Path().iterdir())) == ["stranger.wav", "text.mp4"]


def test_a_damaged_recipe_names_its_file(pocket, openreels):
    recipe = json.loads(Recipe.here({"prompt": "x", "seed": -1}, "pocket", "0", "cpu float32").to_metadata()["comment"])
    clip = Clip(audio=np.zeros((1, 1_000), np.float32), sample_rate=16_000, metadata={"comment": json.dumps(recipe)})
    clip.save("a.wav")
    outcome = openreels("replay", "a.wav", "-o", "b.wav")
    assert (outcome.code, outcome.err) == (
        2,
        "openreels: seed must be a whole number from 0 to 2^63 - 1, not -1.\n",
    )
    del recipe["model"]
    dataclasses.replace(clip, metadata={"comment": json.dumps(recipe)}).save("a.wav")
    assert "the recipe in a.wav is damaged: it lacks model" in openreels("replay", "a.wav", "-o", "b.wav").err


def test_missing_or_damaged_weights(pocket, openreels, with_changed, tmp_path):
    pocket.folder = with_changed(pocket.folder, "transformer", lambda tensor: tensor)
    file = next((pocket.folder / "transformer").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1_000])
    outcome = openreels("generate", PROMPT, "-o", "a.mp4")
    assert outcome.code == 2
    assert outcome.err.startswith("openreels: the model pocket cannot be loaded: ")
    assert outcome.err.count("\n") == 1

    pocket.folder = tmp_path / "nowhere"
    outcome = openreels("generate", PROMPT, "-o", "a.mp4")
    assert outcome.code == 2
    assert f"the weights of pocket are missing in {pocket.folder}" in outcome.err
    assert not list(Path().iterdir())


def test_a_fault_of_ours_keeps_its_traceback(pocket, openreels, with_changed):
    pocket.folder = with_changed(pocket.folder, "vocoder", lambda tensor: tensor * torch.nan)
    with pytest.raises(ValueError, match="audio must be finite"):
        openreels("generate", PROMPT, "-o", "a.mp4", *SECOND)
    assert not list(Path().iterdir())


def test_ctrl_c(pocket, openreels, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("rich.progress.Progress.update", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    # A shell that starts this in the background lets its children ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = openreels("generate", PROMPT, "-o", "a.mp4", *SECOND)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.code == 130
    assert outcome.err.endswith("openreels: interrupted.\n")  # below the bar
    assert not list(Path().iterdir())


def test_a_mistake_in_a_real_process(tmp_path):
    command = [sys.executable, "-m", "openreels", "generate", "", "-o", "a.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "openreels: prompt must be text of 1 to 4,000 characters, not an empty text.\n"
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())
