"""Tiny components of the real classes, every weight random, and the pipelines made of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel, Wav2Vec2Config, Wav2Vec2Model

from openreels.encoders.text import train_tokenizer
from openreels.media import Clip
from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.avatar import SkyReelsV3AvatarPipeline
from openreels.pipelines.v3.extension import SkyReelsV3ExtensionPipeline
from openreels.pipelines.v3.r2v import SkyReelsV3ReferencePipeline

TEXT_DIM, IMAGE_DIM, AUDIO_DIM, AUDIO_LAYERS = 24, 40, 24, 2
SIZE = {"height": 32, "width": 48}


def filled(model: torch.nn.Module, seed: int, scale: float) -> torch.nn.Module:
    """Every weight drawn anew, norms around 1: nothing is zero, and everything has an effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if "norm" in name and name.endswith(("weight", "gamma")):
                parameter.add_(1)
    return model.eval().requires_grad_(False)


def transformer(variant: str, seed: int = 0) -> SkyReelsV3Transformer:
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": TEXT_DIM, "freq_dim": 32, "ffn_dim": 48}
    extra = {}
    if variant == "a2v":
        extra = {"in_channels": 36, "image_dim": IMAGE_DIM, "added_kv_proj_dim": 32, "audio_dim": AUDIO_DIM}
        extra |= {"audio_layers": AUDIO_LAYERS, "audio_hidden_dim": 16, "audio_token_dim": 12, "audio_tokens": 4}
    return filled(SkyReelsV3Transformer(**sizes, num_layers=1, variant=variant, **extra), seed, 0.15)


@pytest.fixture(scope="session")
def vae() -> AutoencoderKLWan:
    return filled(AutoencoderKLWan(base_dim=4, z_dim=16, num_res_blocks=1), 1, 0.12)


@pytest.fixture(scope="session")
def text() -> dict:
    tokenizer = train_tokenizer(["a red ball bounces", "a person is talking"], 300)
    sizes = {"d_model": TEXT_DIM, "d_kv": 6, "num_heads": 4, "d_ff": 32, "num_layers": 1, "vocab_size": len(tokenizer)}
    config = UMT5Config(**sizes, feed_forward_proj="gated-gelu", dropout_rate=0.0)
    return {"text_encoder": filled(UMT5EncoderModel(config), 2, 0.3), "tokenizer": tokenizer}


@pytest.fixture(scope="session")
def r2v(vae, text) -> SkyReelsV3ReferencePipeline:
    return SkyReelsV3ReferencePipeline(transformer("r2v"), vae, **text)


@pytest.fixture(scope="session")
def v2v(vae, text) -> SkyReelsV3ExtensionPipeline:
    return SkyReelsV3ExtensionPipeline(vae, transformer("v2v"), transformer("v2v", seed=9), **text)


@pytest.fixture(scope="session")
def a2v(vae, text) -> SkyReelsV3AvatarPipeline:
    sizes = {"hidden_size": IMAGE_DIM, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    clip = CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=28, patch_size=14, hidden_act="gelu"))
    sizes = {"hidden_size": AUDIO_DIM, "intermediate_size": 32, "num_attention_heads": 2}
    sizes |= {"num_hidden_layers": AUDIO_LAYERS, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    wav2vec = Wav2Vec2Model(Wav2Vec2Config(**sizes, conv_dim=[8] * 7, feat_extract_norm="group", conv_bias=False))
    return SkyReelsV3AvatarPipeline(transformer("a2v"), vae, filled(clip, 3, 0.2), filled(wav2vec, 4, 0.2), **text)


@pytest.fixture(autouse=True)
def quiet(one_thread):
    """All of these run on one thread."""


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Inputs."""

    def picture(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
        """A smooth random picture (H, W, 3) uint8."""
        coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        return (fine[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()

    def film(count: int = 30, height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
        """A picture that wanders to the left (T, H, W, 3)."""
        wide = picture(height, width + count, seed)
        return np.stack([wide[:, start : start + width] for start in range(count)])

    def tone(seconds: float, rate: int = 16_000, channels: int = 1, frequency: float = 220.0) -> np.ndarray:
        """A voice-like sound (C, N) float32: a tone that comes and goes."""
        time = np.arange(round(seconds * rate)) / rate
        wave = np.sin(2 * np.pi * frequency * time) * (0.2 + 0.15 * np.sin(2 * np.pi * 3 * time))
        return np.repeat(wave[None].astype(np.float32), channels, axis=0)

    def clip(count: int = 30, fps: int = 24, **sizes) -> Clip:
        return Clip(film(count, **sizes), fps, tone(count / fps, 8_000, 2), 8_000)

    def embeds(length: int = 512, seed: int = 5) -> torch.Tensor:
        """What a text encoder gives: (1, 512, D), zero after `length`... tokens of a short prompt."""
        drawn = torch.randn(1, 512, TEXT_DIM, generator=torch.Generator().manual_seed(seed))
        drawn[:, length:] = 0
        return drawn

    def features(frames: int, speakers: int | None = None, seed: int = 6) -> torch.Tensor:
        shape = (frames, AUDIO_LAYERS, AUDIO_DIM) if speakers is None else (speakers, frames, AUDIO_LAYERS, AUDIO_DIM)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return SimpleNamespace(
        picture=picture,
        film=film,
        tone=tone,
        clip=clip,
        embeds=embeds,
        features=features,
        SIZE=SIZE,
        transformer=transformer,
    )
