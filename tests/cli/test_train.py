"""`openreels train`: what it refuses before anything is trained, and one part trained for real."""

import json
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from openreels.media import Clip
from openreels.models import adapters
from openreels.models.checkpoint import open_tensors
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.precision import fastest_dtype
from openreels.pipelines import registry
from openreels.pipelines.registry import folder_of
from openreels.recipes import RECIPES, pocket, presets, v4_phases
from openreels.training import latents, text_encoder
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
    "planner too early": (
        ["pocket", *BUDGET, "--part", "planner"],
        "--part planner needs video_codec, audio_codec, text_encoder, not yet trained in runs/pocket",
    ),
    "decoder too early": (
        ["pocket", *BUDGET, "--part", "decoder"],
        "--part decoder needs video_codec, audio_codec, text_encoder, everything, not yet trained in runs/pocket",
    ),
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
    "flags of another kind": (
        ["pocket", *BUDGET, "--data", ".", "--micro-batch", "2"],
        "--data, --micro-batch cannot be used with pocket, only with v4",
    ),
    "v4: flags of another kind": (["v4", *BUDGET, "--workers", "2"], "--workers cannot be used with v4, only with "),
    "v4: part": (["v4", *BUDGET, "--part", "joy"], "there is no phase 'joy'; the phases are video-1, "),
    "v4: preset": (["v4", *BUDGET, "--preset", "huge"], "there is no preset 'huge'; there are full, "),
    "v4: preset without data": (["v4", *BUDGET, "--preset", "mid"], "preset mid needs a folder of cached latents"),
    "v4: data": (["v4", *BUDGET, "--data", "."], "data must be a folder of cached latents with an index.json, not '.'"),
    "v4: learns": (
        ["v4", *BUDGET, "--part", "audio", "--learns", "cross"],
        "phase audio learns audio, none of which is to be trained",
    ),
    "v4: learns, misspelt": (
        ["v4", *BUDGET, "--part", "joint", "--learns", "audio, corss"],
        "learns must name some of video, audio, cross, not 'corss'",
    ),
    "v4: batch": (
        ["v4", *BUDGET, "--batch", "3", "--processes", "2"],
        "video-1: a step of 3 micro-batches (3 clips, 1 at a time) cannot be divided among 2 data ranks",
    ),
    "v4: export too early": (
        ["v4", "--export", "out", "--workdir", "run"],
        "there is nothing to export: run holds no weights of a phase",
    ),
    "v4: export of a phase too early": (
        ["v4", "--export", "out", "--workdir", "run", "--part", "joint", "--lora", "4"],
        "there is nothing to export: run holds no adapter of joint",
    ),
    "v4: export into a folder in use": (["v4", *BUDGET, "--export", "."], ". holds something already: give the name "),
    "v4: start": (
        ["v4", *BUDGET, "--start-from", "nowhere"],
        "weights to start from must be a folder with a transformer, not 'nowhere'",
    ),
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


def test_one_part_is_interrupted_and_goes_on(openreels, monkeypatch):
    monkeypatch.setattr(text_encoder, "CAPTIONS", 400)
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


# --- a model of the schedule, whole ----------------------------------------------------------------------------------


@pytest.fixture
def clips(pocket, tiny_pipeline, openreels, monkeypatch) -> str:
    """A still, and a clip with sound and a reference, encoded for the preset "pocket", which has the sizes of
    `tiny_pipeline`."""
    config = {name: value for name, value in tiny_pipeline.transformer.config.items() if not name.startswith("_")}
    tiny_preset = replace(presets.pocket(), transformer=config)
    monkeypatch.setitem(presets.PRESETS, "pocket", lambda: tiny_preset)
    frames = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    Clip(frames, Fraction(16), np.zeros((1, 6_000), np.float32), 16_000).save("ball.mp4")
    Clip(frames[:1], Fraction(1)).save("ball.png")
    lines = [
        {"path": "ball.png", "caption": "a ball"},
        {"path": "ball.mp4", "caption": "@it jumps", "references": {"it": "ball.png"}},
    ]
    Path("clips.jsonl").write_text("\n".join(map(json.dumps, lines)))
    outcome = openreels("encode", "clips.jsonl", "-o", "clips")
    assert (outcome.code, outcome.err) == (0, "")
    return "clips"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return SkyReelsV4Transformer.from_pretrained(folder).state_dict()


def test_a_phase_becomes_a_whole_model(clips, pocket, openreels):
    phase = ("train", "v4", "--data", clips, "--part", "video-1", "--batch", "1", "--start-from", "pocket")
    outcome = openreels(*phase, "--steps", "2", "--minutes", "0.0001", "--export", "out")
    assert outcome.code == 1 and not Path("out").exists()
    assert outcome.err == "openreels: warning: nothing was written to out, for the training is not finished.\n"

    outcome = openreels(*phase, "--steps", "2", "--export", "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("out: model written; trained: video of video-1\n")
    weights = Path("out/transformer/diffusion_pytorch_model.safetensors")
    assert weights.samefile("runs/v4/video-1-weights/diffusion_pytorch_model.safetensors")
    before, after = tensors(pocket.folder / "transformer"), tensors(Path("out/transformer"))
    assert not torch.equal(before["video.embed.weight"], after["video.embed.weight"])
    assert torch.equal(before["audio.embed.weight"], after["audio.embed.weight"])
    ours, theirs = (json.loads((folder / "model_index.json").read_text()) for folder in (Path("out"), pocket.folder))
    assert ours == theirs
    made = openreels("generate", "a ball", "-o", "a.mp4", "--model", "out", "--duration", "1", "--steps", "1")
    assert (made.code, made.err) == (0, "")
    assert Clip.open("a.mp4").frames.shape == (16, 64, 64, 3)


def test_what_is_trained_is_exported_later_around_the_parts_at_hand(clips, pocket, openreels):
    """Without a budget and without --data; without a start from the package's own model, else from that."""
    phase = ("train", "v4", "--part", "audio", "--workdir", "run")
    assert openreels(*phase, "--data", clips, "--steps", "1", "--batch", "1").code == 0
    outcome = openreels("train", "v4", "--workdir", "run", "--export", "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "out: model written; trained: audio of audio\n"
    assert Path("out/video_vae/config.json").is_file() and Path("out/model_index.json").is_file()
    outcome = openreels(*phase, "--preset", "mid", "--start-from", "run/audio-weights", "--export", "mid")
    assert outcome.code == 2 and outcome.err == (
        "openreels: --export needs --start-from with a whole model (`openreels init` writes one), for its other parts; "
        "run/audio-weights lacks video_vae, audio_vae, vocoder, text_encoder, tokenizer.\n"
    )
    outcome = openreels(*phase, "--preset", "mid", "--start-from", "out", "--export", "mid")
    assert outcome.code == 2 and "and the transformer was made for video_channels 32" in outcome.err
    assert not Path("mid").exists()


def test_an_adapter_is_exported_merged_into_its_start(clips, pocket, openreels):
    run = ("train", "v4", "--part", "joint", "--lora", "2", "--workdir", "run", "--start-from", "pocket")
    run += ("--learns", "video, audio , cross")
    outcome = openreels(*run, "--data", clips, "--steps", "1", "--batch", "1", "--export", "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("out: model written; trained: video of joint, audio of joint, cross of joint\n")
    start, merged = tensors(pocket.folder / "transformer"), tensors(Path("out/transformer"))
    adapter = load_file("run/joint-adapter/pytorch_lora_weights.safetensors")
    moved = {name for name in start if not torch.equal(start[name], merged[name])}
    layers = {name.removesuffix(".lora_A.weight") for name in adapter if name.endswith(".lora_A.weight")}
    assert moved and moved <= {f"{layer}.weight" for layer in layers} and start.keys() == merged.keys()
    for layer in layers:
        delta = adapter[f"{layer}.lora_B.weight"] @ adapter[f"{layer}.lora_A.weight"]
        torch.testing.assert_close(merged[f"{layer}.weight"], start[f"{layer}.weight"] + delta)

    # The same clip by the adapter on its model, without an export; and again from what the clip says of itself.
    wish = ("a ball", "--duration", "1", "--steps", "1")
    for model, output in (("out", "merged.mp4"), ("pocket+run/joint-adapter", "adapted.mp4"), ("pocket", "plain.mp4")):
        outcome = openreels("generate", *wish, "-o", output, "--model", model)
        assert (outcome.code, outcome.err) == (0, "")
    frames = {name: Clip.open(f"{name}.mp4").frames for name in ("merged", "adapted", "plain")}
    if fastest_dtype("cpu") == torch.float32:  # in bfloat16 a merged weight rounds otherwise than a sum of products
        assert np.array_equal(frames["merged"], frames["adapted"])
    assert not np.array_equal(frames["plain"], frames["adapted"])
    assert openreels("replay", "adapted.mp4", "-o", "again.mp4").err == ""
    assert Path("again.mp4").read_bytes() == Path("adapted.mp4").read_bytes()


def test_an_adapter_that_is_not_there_or_does_not_fit(pocket, openreels):
    assert registry.ADAPTER_FILE == adapters.ADAPTER_FILE  # said twice: the registry must not load the library
    outcome = openreels("generate", "a ball", "-o", "a.mp4", "--model", "pocket+nowhere")
    assert outcome.code == 2 and "there is no adapter in nowhere" in outcome.err and not pocket.loads
    Path("other").mkdir()
    save_file({"layers.0.nothing.lora_A.weight": torch.zeros(2, 2)}, "other/pytorch_lora_weights.safetensors")
    outcome = openreels("generate", "a ball", "-o", "a.mp4", "--model", "pocket+other")
    assert outcome.code == 2 and "is of another model: layers.0.nothing.lora_A.weight" in outcome.err


def test_tasks_that_the_clips_cannot_teach_are_named(clips, openreels):
    run = ("train", "v4", "--data", clips, "--steps", "1", "--batch", "1", "--workdir", "run")
    outcome = openreels(*run, "--part", "video-6", "--start-from", "pocket")
    assert outcome.code == 0 and outcome.err == (
        "openreels: warning: clips has no clips for video-reference: phase video-6 is trained on its other tasks.\n"
    )
    (still,) = [line for line in Path("clips.jsonl").read_text().splitlines() if "@it" not in line]
    Path("clips.jsonl").write_text(still)
    assert openreels("encode", "clips.jsonl", "-o", clips).code == 0
    outcome = openreels(*run, "--part", "audio")
    assert outcome.code == 2
    assert outcome.err.endswith("phase audio has nothing to train on: there are no clips for text-to-audio.\n")


def test_the_packages_weights_fit_their_preset():
    """What `--start-from pocket` is."""
    expected = {name: tuple(value.shape) for name, value in presets.pocket().build().state_dict().items()}
    assert open_tensors(folder_of("pocket") / "transformer").shapes == expected


@pytest.fixture
def tiny_recipe(monkeypatch) -> None:
    """A recipe called "tiny", whose transformer has the sizes of `tiny_pipeline`."""

    def transformer(video_channels: int, audio_channels: int, text_dim: int) -> SkyReelsV4Transformer:
        sizes = (video_channels, audio_channels, text_dim, 2, (4, 6, 6), 1, 1)
        return SkyReelsV4Transformer(*sizes, modulation_rank=4, time_bias_slope=1.0)

    recipe = ModuleType("tiny_recipe")
    recipe.plan = lambda: replace(
        pocket.tiny_plan(), transformer=transformer, planner_minutes_share=None, decoder_minutes_share=None
    )
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
