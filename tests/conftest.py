"""Tiny real parts (random weights, a few channels) and the command line, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.attention import CrossAttention
from openreels.tasks.states import audio_state, video_state
from openreels.types import AudioShape, Context, StreamState, VideoShape

if TYPE_CHECKING:
    from openreels.pipelines.v4 import SkyReelsV4Pipeline

# 3 latent frames of 2 x 2 positions; 9 audio tokens, so that tokens 0, 3 and 6 stand exactly at a video frame.
VIDEO = VideoShape(9, 32, 32, Fraction(16), latent_frames=3, latent_height=2, latent_width=2, latent_channels=4)
AUDIO = AudioShape(9_000, 16_000, tokens=9, latent_channels=3)
TEXT_DIM = 8


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def shake(model: torch.nn.Module, seed: int = 0, std: float = 0.15, keep: type | None = None) -> torch.nn.Module:
    """Adds noise to every weight, so that nothing is zero any more; modules of class `keep` stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    kept = {id(p) for m in model.modules() if keep and isinstance(m, keep) for p in m.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in kept:
            parameter += std * torch.randn(parameter.shape, generator=generator)
    return model


def transformer(**config) -> SkyReelsV4Transformer:
    """Freshly made: one dual-stream and one single-stream layer of width 32."""
    torch.manual_seed(0)
    defaults = {
        "video_channels": VIDEO.latent_channels,
        "audio_channels": AUDIO.latent_channels,
        "text_dim": TEXT_DIM,
        "num_heads": 2,
        "rope_axis_dims": (4, 6, 6),
        "num_dual_layers": 1,
        "num_single_layers": 1,
        "mlp_ratio": 2.0,
        "time_bias_slope": 1.0,
    }
    return SkyReelsV4Transformer(**(defaults | config)).eval()


def video(batch: int = 2, time: float = 0.4, seed: int = 1) -> StreamState:
    state = video_state(VIDEO, batch)
    return state.at(noise(*state.noisy_BNC.shape, seed=seed), torch.full((batch,), time))


def audio(batch: int = 2, time: float = 0.4, seed: int = 2) -> StreamState:
    state = audio_state(AUDIO, VIDEO.latent_frames, batch)
    return state.at(noise(*state.noisy_BNC.shape, seed=seed), torch.full((batch,), time))


def with_references(state: StreamState, count: int = 2, seed: int = 3) -> StreamState:
    """`count` conditions of one token each: condition i of n stands at frame i - n, at the origin of the picture."""
    batch, _, channels = state.noisy_BNC.shape
    positions = torch.zeros(count, state.positions_NP.shape[1])
    positions[:, 0] = torch.arange(count) - count
    return replace(state, reference_BRC=noise(batch, count, channels, seed=seed), reference_positions_RP=positions)


def context(batch: int = 2, tokens: int = 5, seed: int = 4) -> Context:
    return Context(noise(batch, tokens, TEXT_DIM, seed=seed), torch.ones(batch, tokens, dtype=torch.bool))


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """Everything above under one name."""
    return SimpleNamespace(
        VIDEO=VIDEO,
        AUDIO=AUDIO,
        noise=noise,
        shake=shake,
        transformer=transformer,
        video=video,
        audio=audio,
        with_references=with_references,
        context=context,
        CrossAttention=CrossAttention,
    )


@pytest.fixture(scope="session")
def shaken() -> SkyReelsV4Transformer:
    """A tiny transformer in which every part has an effect. Shared: do not change it."""
    return shake(transformer()).requires_grad_(False)


@pytest.fixture(scope="module")
def one_thread():
    """Tiny tensors gain nothing from threads, and threads on busy cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_pipeline() -> SkyReelsV4Pipeline:
    """A whole pipeline of the real classes, every weight random, ready in three steps. Shared: do not change it."""
    # Here, not above: most tests do without these parts and start quicker.
    from openreels.codecs.audio import PocketAudioVAE
    from openreels.codecs.video import PocketVideoVAE
    from openreels.codecs.vocoder import PocketVocoder
    from openreels.encoders.text import new_text_encoder, train_tokenizer
    from openreels.pipelines.v4 import SkyReelsV4Pipeline

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red ball bounces", "一个红色的球"], 300)
    encoder = new_text_encoder(tokenizer, width=16, layers=1, heads=2)
    model = SkyReelsV4Transformer(4, 3, 16, 2, (4, 6, 6), 1, 1, modulation_rank=4, time_bias_slope=1.0)
    return SkyReelsV4Pipeline(
        transformer=shake(model, std=0.05).eval(),
        video_vae=PocketVideoVAE(
            latent_channels=4,
            encoder_channels=(8, 8, 8),
            encoder_blocks=(1, 1, 1),
            decoder_channels=(8, 8, 8),
            decoder_blocks=(1, 1, 1),
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval(),
        audio_vae=PocketAudioVAE(latent_channels=3, hidden=16, latents_mean=[0.0] * 3, latents_std=[1.0] * 3).eval(),
        vocoder=PocketVocoder(width=32, layers=1, hidden=64).eval(),
        text_encoder=encoder.model.eval(),
        tokenizer=encoder.tokenizer,
        steps=3,
    )


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def openreels(capsys, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """Runs the command line, inside this process, in an empty folder."""
    from openreels.cli.__main__ import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run
