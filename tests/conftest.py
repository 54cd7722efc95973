"""Tiny real parts (random weights, a few channels) and the command line, shared by the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch
from torch import Tensor

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.attention import CrossAttention
from openreels.tasks.states import audio_state, video_state
from openreels.types import AudioShape, Context, StreamState, VideoShape

if TYPE_CHECKING:
    from openreels.pipelines.v4 import SkyReelsV4Pipeline

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("openreels", deadline=None)
hypothesis.settings.load_profile("openreels")

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


WORDS = ("a red ball bounces on the grass", "You are a helpful assistant. Describe the video", "seconds user system")
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SPECIAL += ("<|audio_bos|>", "<|audio_eos|>", "<|AUDIO|>")


def qwen_tokenizer():
    """`Qwen2Tokenizer` over a few hundred pieces, with the special tokens of its multimodal models."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    trained = json.loads(pieces.to_str())["model"]
    tokenizer = Qwen2Tokenizer(vocab=trained["vocab"], merges=[tuple(pair) for pair in trained["merges"]])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def qwen(kind: str, tokenizer, layers: int = 3):
    """A multimodal LLM of 32 channels with random weights. kind: a `model_type` of transformers."""
    import transformers
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniThinkerModel

    torch.manual_seed(0)
    numbers = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 0, "eos_token_id": 0}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    eyes = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4}
    eyes |= {"out_hidden_size": 32}
    windows = {"window_size": 16, "fullatt_block_indexes": [1]}
    starts = {"vision_start_token_id": numbers[2], "vision_end_token_id": numbers[3]}
    pads = {"image_token_id": numbers[4], "video_token_id": numbers[5]}
    if kind == "qwen2_5_vl_text":
        return transformers.Qwen2_5_VLTextModel(transformers.Qwen2_5_VLTextConfig(**text)).eval()
    if kind == "qwen2_5_vl":
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=eyes | windows, **starts, **pads)
        return transformers.Qwen2_5_VLModel(config).eval()
    if kind == "qwen3_vl":
        text |= {"head_dim": 16}
        text["rope_parameters"]["mrope_interleaved"] = True
        eyes |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=eyes, **starts, **pads)
        return transformers.Qwen3VLModel(config).eval()
    ears = {"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "d_model": 16}
    ears |= {"output_dim": 32}
    sounds = {"audio_start_token_id": numbers[6], "audio_end_token_id": numbers[7], "audio_token_index": numbers[8]}
    pads = {"image_token_index": numbers[4], "video_token_index": numbers[5]}
    config = transformers.Qwen2_5OmniThinkerConfig(
        text_config=text, vision_config=eyes | windows, audio_config=ears, **starts, **pads, **sounds
    )
    return Qwen2_5OmniThinkerModel(config).eval()


def eyes():
    """The picture processor that goes with `qwen`."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 64, "longest_edge": 4096})


def ears():
    """The spectrogram that goes with `qwen`."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=16, chunk_length=4)


def video_autoencoder(kind: str, **options):
    """A video autoencoder of diffusers at a few channels, random weights. kind: name of its class."""
    import diffusers

    torch.manual_seed(0)
    hunyuan = {"layers_per_block": 1, "norm_num_groups": 2, "block_out_channels": (4, 4, 8, 8), "latent_channels": 4}
    configs = {
        "AutoencoderKLHunyuanVideo15": {
            "latent_channels": 4,
            "block_out_channels": (8, 8, 8, 8, 8),
            "layers_per_block": 1,
        },
        "AutoencoderKLHunyuanVideo": hunyuan,
        "AutoencoderKLWan": {
            "base_dim": 4,
            "num_res_blocks": 1,
            "z_dim": 4,
            "latents_mean": [0.3, -0.2, 0.1, 0.0],
            "latents_std": [0.5, 2.0, 1.0, 0.7],
        },
    }
    return getattr(diffusers, kind)(**(configs[kind] | options)).eval().requires_grad_(False)


def sound_autoencoder():
    """(`MMAudioVAE`, `MMAudioVocoder`) of diffusers at a few channels, 44.1 kHz, random weights."""
    from diffusers.models.autoencoders.autoencoder_mmaudio import MMAudioVAE
    from diffusers.models.autoencoders.mmaudio_vocoder import MMAudioVocoder

    torch.manual_seed(0)
    vae = MMAudioVAE(mel_bins=16, latent_channels=6, hidden_channels=8, channel_multipliers=(1, 1), layers_per_block=1)
    return vae.eval(), MMAudioVocoder(16, 16, (8, 8, 8), (16, 16, 16), (3,), ((1,),)).eval()


@pytest.fixture(scope="session")
def full() -> SimpleNamespace:
    """The classes of the full-size model, tiny: makers of its tokenizer, text encoders and codecs."""
    return SimpleNamespace(
        tokenizer=qwen_tokenizer,
        qwen=qwen,
        eyes=eyes,
        ears=ears,
        video_autoencoder=video_autoencoder,
        sound_autoencoder=sound_autoencoder,
    )
