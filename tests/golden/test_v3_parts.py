"""The parts around the V3 transformers against the official ones."""

from zlib import crc32

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.testing import assert_close
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel, Wav2Vec2Config, Wav2Vec2Model

from openreels.codecs.wan import WanVideoCodec
from openreels.encoders.clip_image import ClipImageEncoder
from openreels.encoders.umt5 import UMT5TextEncoder
from openreels.encoders.wav2vec import Wav2VecEncoder
from openreels.flow.unipc import euler_times, unipc
from openreels.models.key_map import KeyMap
from openreels.models.wan_keys import CLIP_ORIGINAL, UMT5_ORIGINAL, VAE_ORIGINAL


def renamed(weights: dict[str, Tensor], names: KeyMap, model: torch.nn.Module) -> dict[str, Tensor]:
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    parts = {}
    for key, value in weights.items():
        ours = names.ours(key) or ()
        parts |= dict(zip(ours, value.chunk(max(1, len(ours))), strict=False))
    return {key: value.reshape(shapes[key]) for key, value in parts.items()}


@pytest.fixture(scope="module")
def codec(golden):
    it = golden("vae")
    vae = AutoencoderKLWan(base_dim=it.config["dim"], z_dim=it.config["z_dim"]).eval()
    vae.load_state_dict(renamed(it.weights, VAE_ORIGINAL, vae))
    return WanVideoCodec(vae), it.io


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_vae(codec, frames):
    codec, io = codec
    assert_close(codec.encode(io[f"video.{frames}"]), io[f"latent.{frames}"], atol=1e-5, rtol=0)
    # The convolutions of two CPUs round differently: the golden itself is 1e-5 away from float64.
    assert_close(codec.decode(io[f"z.{frames}"]), io[f"decoded.{frames}"], atol=3e-5, rtol=0)


CASES = {"s8_n8": (8, 8), "s5_n8": (8, 5), "s5_n50": (50, 5), "s8_n4": (4, 8), "s8_n1": (1, 8), "s8_n2": (2, 8)}


@pytest.mark.parametrize("case", CASES)
def test_unipc(golden, case):
    io = golden("scheduler").io
    scheduler = unipc(*CASES[case])
    assert torch.equal(scheduler.timesteps, io[f"{case}.timesteps"])
    assert_close(scheduler.sigmas, io[f"{case}.sigmas"], atol=1e-7, rtol=0)
    sample = io["x"]
    for step, (time, official) in enumerate(zip(scheduler.timesteps, io[f"{case}.traj"], strict=True)):
        generator = torch.Generator().manual_seed(crc32(f"unipc.out.{step}".encode()))
        velocity = torch.randn(1, 4, 2, 3, 5, generator=generator)
        sample = scheduler.step(velocity, time, sample, return_dict=False)[0]
        assert_close(sample, official, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("case", "steps", "shift"), [("a2v_n4_s11", 4, 11), ("a2v_n40_s5", 40, 5)])
def test_euler_times(golden, case, steps, shift):
    assert torch.equal(euler_times(steps, shift), golden("scheduler").io[f"{case}.timesteps"])


def test_text_encoder(golden):
    it = golden("text_encoder")
    sizes = {"vocab_size": it.config["vocab"], "d_model": it.config["dim"], "d_ff": it.config["dim_ffn"]}
    heads, layers = it.config["num_heads"], it.config["num_layers"]
    model = UMT5EncoderModel(
        UMT5Config(**sizes, d_kv=it.config["dim_attn"] // heads, num_layers=layers, num_heads=heads)
    ).eval()
    missing, unexpected = model.load_state_dict(renamed(it.weights, UMT5_ORIGINAL, model), strict=False)
    assert (missing, unexpected) == (["encoder.embed_tokens.weight"], [])
    model.tie_weights()

    class Tokens(dict):
        """A tokenizer that gives the golden's own."""

        def __call__(self, prompts, **settings):
            assert settings["max_length"] == 512
            return self

        def to(self, device):
            return self

        __getattr__ = dict.__getitem__

    tokens = Tokens(input_ids=it.io["input_ids"], attention_mask=it.io["attention_mask"])
    assert_close(UMT5TextEncoder(model, tokens)(["", ""]), it.io["context"], atol=2e-5, rtol=0)


def test_image_encoder(golden):
    it = golden("clip_vision")
    config = CLIPVisionConfig(
        hidden_size=it.config["dim"],
        intermediate_size=it.config["dim"] * it.config["mlp_ratio"],
        num_hidden_layers=it.config["num_layers"],
        num_attention_heads=it.config["num_heads"],
        image_size=it.config["image_size"],
        patch_size=it.config["patch_size"],
        hidden_act=it.config["activation"],
    )
    model = CLIPVisionModel(config).eval()
    weights = {f"visual.{key}": value for key, value in it.weights.items()}
    model.load_state_dict(renamed(weights, CLIP_ORIGINAL, model))
    assert_close(ClipImageEncoder(model)(it.io["image"][:, :, 0]), it.io["features"], atol=1e-5, rtol=0)


def test_audio_encoder(golden):
    it = golden("wav2vec2")
    model = Wav2Vec2Model(Wav2Vec2Config(**it.config)).eval()
    model.load_state_dict(it.weights)
    model.config.do_normalize = False  # the golden's waveform went in as it is
    assert_close(Wav2VecEncoder(model)(it.io["waveform"][0], fps=25), it.io["embeddings"], atol=1e-5, rtol=0)
