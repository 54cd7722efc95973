"""`openreels init`: from a tiny source's folder to a model that loads."""

import json
from pathlib import Path
from shutil import rmtree

import diffusers
import pytest
import torch
import transformers
from diffusers import HunyuanVideo15Transformer3DModel
from safetensors.torch import load_file

import openreels as package
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.registry import capabilities

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "in_channels": 9,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "text_embed_dim": 32,
    "text_embed_2_dim": 10,
    "image_embed_dim": 14,
    "rope_axes_dim": (4, 6, 6),
}


@pytest.fixture
def source(tmp_path):
    torch.manual_seed(0)
    HunyuanVideo15Transformer3DModel(**SIZES).to(torch.bfloat16).save_pretrained(tmp_path / "source" / "transformer")
    return str(tmp_path / "source")


def test_a_warm_start_is_written_and_counted(openreels, source):
    made = openreels("init", "full", "--from", "hunyuanvideo-1.5", source, "-o", "made", "--json")
    assert made.code == 0, made.err
    assert "the source is not of the preset's size, and decides: num_single_layers" not in made.err
    assert "num_heads 2 instead of 16" in made.err
    model = SkyReelsV4Transformer.from_pretrained("made/transformer")
    found = json.loads(made.out)
    assert found["parameters"]["in all"] == model.num_parameters()
    assert found["parameters"]["copied"] == 0 and found["dropped"] == {}
    assert model.config.audio_channels == 40
    stored = load_file("made/transformer/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}

    assert found["missing"] == ["video_vae", "audio_vae", "vocoder", "text_encoder", "tokenizer"]
    assert not Path("made/model_index.json").exists()
    assert (
        "written is the transformer alone, for `train v4`; a whole model lacks video_vae, audio_vae, vocoder, "
        "text_encoder, tokenizer; --from a whole pipeline's folder brings its codec and text encoder; --audio-parts "
        "brings audio_vae and vocoder." in made.err
    )

    shown = openreels("init", "full", "--from", "hunyuanvideo-1.5", source, "-o", "copy", "--audio", "copy")
    assert shown.code == 0 and "HunyuanVideo-1.5" in shown.out and "dropped" in shown.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("huge", "--from", "hunyuanvideo-1.5", "x"), "there is no preset 'huge'; there are full, full-hv1"),
        (("mid", "--from", "hunyuanvideo-1.5", "x"), "preset mid has no warm start, not from hunyuanvideo-1.5"),
        (("full", "--from", "hunyuanvideo-1.0", "x"), "preset full starts from hunyuanvideo-1.5, not from hunyuanvide"),
        (("full", "--from", "hunyuanvideo-1.5", "nowhere"), "nowhere is not a diffusers folder"),
        (("full", "--from", "hunyuanvideo-1.5", "x", "--audio", "loud"), "--audio must be one of fresh, copy"),
    ],
)
def test_mistakes_are_one_sentence(openreels, arguments, sentence):
    made = openreels("init", *arguments, "-o", "made")
    assert made.code == 2 and sentence in made.err and made.err.count("\n") == 1


def test_a_folder_in_use_is_left_alone(openreels, source, tmp_path):
    (tmp_path / "made" / "transformer").mkdir(parents=True)
    (tmp_path / "made" / "transformer" / "notes.txt").write_text("mine")
    made = openreels("init", "full", "--from", "hunyuanvideo-1.5", source, "-o", "made")
    assert made.code == 2 and "holds something already" in made.err
    assert [path.name for path in (tmp_path / "made" / "transformer").iterdir()] == ["notes.txt"]


# --- a whole model ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def released(full, tmp_path_factory) -> Path:
    """HunyuanVideo-1.5 as `HunyuanVideo15Pipeline` saves it."""
    torch.manual_seed(0)
    tokenizer = full.tokenizer()
    glyphs = transformers.T5Config(vocab_size=384, d_model=10, d_kv=5, d_ff=8, num_layers=1, num_heads=2)
    pipeline = diffusers.HunyuanVideo15Pipeline(
        text_encoder=full.qwen("qwen2_5_vl_text", tokenizer),
        tokenizer=tokenizer,
        transformer=HunyuanVideo15Transformer3DModel(**SIZES).to(torch.bfloat16),
        vae=full.video_autoencoder("AutoencoderKLHunyuanVideo15"),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder_2=transformers.T5EncoderModel(glyphs),
        tokenizer_2=transformers.ByT5Tokenizer(),
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
    )
    folder = tmp_path_factory.mktemp("released") / "hunyuan"
    pipeline.save_pretrained(folder)
    return folder


def sound_in(folder: Path, full, channels: int) -> Path:
    _, vocoder = full.sound_autoencoder()
    sizes = {"hidden_channels": 8, "channel_multipliers": (1, 1), "layers_per_block": 1}
    diffusers.MMAudioVAE(mel_bins=16, latent_channels=channels, **sizes).save_pretrained(folder / "audio_vae")
    vocoder.save_pretrained(folder / "vocoder")
    return folder


@pytest.fixture(scope="module")
def sound(full, tmp_path_factory) -> Path:
    return sound_in(tmp_path_factory.mktemp("sound"), full, channels=40)


def test_a_whole_model_is_written_and_makes_a_clip(openreels, released, sound):
    arguments = ("--from", "hunyuanvideo-1.5", str(released), "--audio-parts", str(sound), "-o", "start")
    made = openreels("init", "full", *arguments, "--json")
    assert made.code == 0, made.err
    found = json.loads(made.out)
    assert found["folder"] == "start" and found["missing"] == []
    assert found["parts"]["text_encoder"] == "Qwen2_5_VLTextModel" and found["parts"]["audio_vae"] == "MMAudioVAE"

    reel = package.load("start", device="cpu")
    assert (reel.pipeline.config.shift, reel.pipeline.config.guidance) == (5.0, 6.0)  # of the source
    assert (reel.pipeline.config.fps, reel.pipeline.config.text_layer) == (16, -3)
    can = capabilities(Path("start"))
    assert (can.durations, can.resolutions) == ((2, 15), ("256p", "480p", "720p", "1080p"))
    assert (can.resolution, can.duration, can.sample_rate) == ("480p", 5.0, 44_100)
    clip = reel.pipeline("a red ball", num_frames=5, height=32, width=48, num_inference_steps=1)
    assert clip.frames.shape == (1, 5, 32, 48, 3) and clip.frames.float().std() > 1
    assert clip.audio.shape == (1, 13_781) and clip.audio.isfinite().all()
    source = load_file(released / "vae" / "diffusion_pytorch_model.safetensors")
    loaded = reel.pipeline.video_vae.state_dict()  # in the format that this processor multiplies fastest
    assert all(torch.equal(source[name].to(value.dtype), value) for name, value in loaded.items())


def test_weights_are_links_and_configs_are_not(openreels, released, sound):
    arguments = ("--from", "hunyuanvideo-1.5", str(released), "--audio-parts", str(sound), "-o", "start")
    assert openreels("init", "full", *arguments).code == 0
    for name, theirs in (("video_vae", released / "vae"), ("vocoder", sound / "vocoder")):
        ours = Path("start") / name
        assert (ours / "diffusion_pytorch_model.safetensors").samefile(theirs / "diffusion_pytorch_model.safetensors")
        assert not (ours / "config.json").samefile(theirs / "config.json")
        assert (ours / "config.json").read_text() == (theirs / "config.json").read_text()
    assert not Path("start/guider").exists()

    again = openreels("init", "full", *arguments)
    assert again.code == 2 and "start holds something already" in again.err


def test_what_does_not_fit_is_known_before_anything_is_written(openreels, released, full, tmp_path):
    begin = ("init", "full", "--from", "hunyuanvideo-1.5", str(released), "-o", "start")
    made = openreels(*begin, "--audio-parts", "nowhere")
    assert made.code == 2 and "nowhere lacks audio_vae and vocoder" in made.err
    narrow = sound_in(tmp_path / "narrow", full, channels=6)
    made = openreels(*begin, "--audio-parts", str(narrow))
    sentence = "audio_vae gives 6 channels, and the transformer was made for audio_channels 40"
    assert made.code == 2 and sentence in made.err
    rmtree(narrow / "vocoder")
    (tmp_path / "narrow" / "vocoder").mkdir()
    (tmp_path / "narrow" / "vocoder" / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    made = openreels(*begin, "--audio-parts", str(narrow))
    assert (
        made.code == 2 and "lacks vocoder (its AutoencoderKLWan is none of PocketVocoder, MMAudioVocoder)" in made.err
    )
    sound = sound_in(tmp_path / "broken", full, channels=40)
    (sound / "audio_vae" / "diffusion_pytorch_model.safetensors").unlink()
    made = openreels(*begin, "--audio-parts", str(sound))
    assert made.code == 2 and "must hold safetensors files" in made.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "narrow"]


def test_of_hunyuanvideo_10_the_text_encoder_is_left_to_bring(openreels, sound, tmp_path):
    """An index with the classes of `HunyuanVideoPipeline`; nothing but the transformer is read of such a folder."""
    torch.manual_seed(0)
    sizes = {name: value for name, value in SIZES.items() if name not in ("text_embed_2_dim", "image_embed_dim")}
    sizes |= {"in_channels": 4, "num_single_layers": 1, "pooled_projection_dim": 9}
    diffusers.HunyuanVideoTransformer3DModel(**sizes).save_pretrained(tmp_path / "old" / "transformer")
    parts = {"vae": ["diffusers", "AutoencoderKLHunyuanVideo"], "text_encoder": ["transformers", "LlamaModel"]}
    parts |= {"tokenizer": ["transformers", "LlamaTokenizerFast"], "image_processor": [None, None]}
    Path("old/model_index.json").write_text(json.dumps({"_class_name": "HunyuanVideoPipeline"} | parts))
    arguments = ("--from", "hunyuanvideo-1.0", "old", "--audio-parts", str(sound), "-o", "made")
    made = openreels("init", "full-hv1", *arguments, "--json")
    assert made.code == 0, made.err
    assert "a whole model lacks text_encoder (its LlamaModel is none of T5EncoderModel, Qwen2_5_VLModel, " in made.err
    assert made.err.endswith("), tokenizer.\n")
    assert [path.name for path in Path("made").iterdir()] == ["transformer"]


def test_a_write_that_fails_leaves_nothing(openreels, released, sound, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("openreels.models.warm_start.save_file", full_disk)
    arguments = ("--from", "hunyuanvideo-1.5", str(released), "--audio-parts", str(sound), "-o", "start")
    made = openreels("init", "full", *arguments)
    assert made.code == 2 and "no space left on device" in made.err
    assert not list(tmp_path.iterdir())
