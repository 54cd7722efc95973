"""`openreels init`: from a tiny source's folder to a model that loads."""

import json

import pytest
import torch
from diffusers import HunyuanVideo15Transformer3DModel
from safetensors.torch import load_file

from openreels.models.v4 import SkyReelsV4Transformer

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "in_channels": 9,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "text_embed_dim": 24,
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
