"""A work folder with tiny, untrained parts, and one in which the tiny plan has lived its whole life."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch

from openreels.codecs.audio import PocketAudioCodec, PocketAudioVAE
from openreels.codecs.video import PocketVideoVAE
from openreels.codecs.vocoder import PocketVocoder
from openreels.encoders.text import new_text_encoder, train_tokenizer
from openreels.recipes.pocket import tiny_plan
from openreels.training import latents
from openreels.training.plan import train
from openreels.world import random_caption, sample_scene


@pytest.fixture(scope="session")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worker", Path(__file__).with_name("worker.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def small_shards(worker):
    before, latents.SHARD = latents.SHARD, worker.SHARD
    yield
    latents.SHARD = before


@pytest.fixture(scope="session")
def parts(tmp_path_factory) -> Path:
    """What training the codecs and the text encoder leaves behind, without the training."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    PocketVideoVAE(
        latent_channels=4,
        encoder_channels=(8, 8, 8),
        encoder_blocks=(1, 1, 1),
        decoder_channels=(8, 8, 8),
        decoder_blocks=(1, 1, 1),
        latents_mean=[0.0] * 4,
        latents_std=[0.5] * 4,
    ).save_pretrained(folder / "video_vae")
    audio_vae = PocketAudioVAE(
        width=24, hidden=32, latent_channels=6, encoder_layers=1, decoder_layers=1, latents_mean=[0.0] * 6,
        latents_std=[0.5] * 6,
    )  # fmt: skip
    PocketAudioCodec(audio_vae, PocketVocoder(width=16, layers=2, hidden=24)).save_pretrained(folder)
    captions = [random_caption(sample_scene(seed, duration=2.0), seed) for seed in range(200)]
    new_text_encoder(train_tokenizer(captions, 400), width=32, layers=1, heads=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def life(parts, tmp_path_factory) -> Path:
    """Every stage of the tiny plan, two steps each."""
    folder = tmp_path_factory.mktemp("life") / "work"
    shutil.copytree(parts, folder)
    train(tiny_plan(), folder, steps=2)
    return folder


@pytest.fixture
def before_joint(life, tmp_path) -> Path:
    """A copy of the whole life in which the last stage has yet to come."""
    folder = tmp_path / "work"
    shutil.copytree(life, folder, ignore=shutil.ignore_patterns("joint*"))
    return folder
