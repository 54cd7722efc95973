"""The sizes a V4 model comes in: what the transformer, the codecs and the text encoder of each preset are.

`full` and `full-hv1` start from open video weights (`openreels init`), `mid` and `pocket` from nothing.

What the paper fixes (SkyReels-V4, arXiv 2602.21818)
    both branches of one width, depth and number of heads; M dual-stream layers, then N single-stream ones; a text
    cross-attention in every video layer, a pair of audio-video cross-attentions in every layer; [V | I | M] channels;
    16 frames/s; 44.1 kHz sound, 1,024 samples a token; a frozen multimodal LLM whose hidden states feed both towers.
What it leaves open, and is chosen here
    every number in a preset's `transformer`; which codecs and which LLM; that an audio branch of full width is fresh at
    the start; no learnable time bias in the large models (it would cost a score matrix in memory that flash attention
    does without: 75,600 x 218 tokens x 16 heads at 720p and 5 s); a text refiner in both towers; QK-norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.recipes import pocket as pocket_recipe

__all__ = ["PRESETS", "AudioCodecChoice", "Preset", "TextEncoderChoice", "VideoCodecChoice", "preset"]


@dataclass(frozen=True)
class VideoCodecChoice:
    """class_name: of diffusers, or ours. channels: of its latents. patch: latent rows (and columns) in one token.

    spatial: pixels to a latent row or column; always spatial * patch = 16 pixels a token here.
    """

    class_name: str
    channels: int
    spatial: int
    patch: int = 1
    temporal: int = 4


@dataclass(frozen=True)
class AudioCodecChoice:
    """class_names: of autoencoder and vocoder. channels: of the latents. samples_per_token: at `sample_rate` Hz."""

    class_names: tuple[str, str]
    channels: int
    sample_rate: int
    samples_per_token: int


@dataclass(frozen=True)
class TextEncoderChoice:
    """class_name: of transformers. width: of its hidden states. repository: on the hub; None = comes with the model.

    hidden_layer: which layer's states are read, counted from the last (0 = the last).
    """

    class_name: str
    width: int
    repository: str | None = None
    hidden_layer: int = 0


@dataclass(frozen=True)
class Preset:
    """Everything that makes a model of this size but its weights.

    transformer: arguments of `SkyReelsV4Transformer`. warm_start: kind of source (`models.hunyuan_keys.SOURCES`) its
    video branch is shaped after, None = trained from nothing. repository: the source's diffusers folder on the hub.
    """

    name: str
    description: str
    transformer: Mapping[str, object]
    video: VideoCodecChoice
    audio: AudioCodecChoice
    text: TextEncoderChoice
    fps: int = 16
    warm_start: str | None = None
    repository: str | None = None

    def build(self, device: torch.device | str = "meta") -> SkyReelsV4Transformer:
        """The transformer with fresh weights; on the meta device, with none."""
        with torch.device(device):
            return SkyReelsV4Transformer(**self.transformer)


MMAUDIO = AudioCodecChoice(("MMAudioVAE", "MMAudioVocoder"), channels=40, sample_rate=44_100, samples_per_token=1024)
HUNYUAN_15_VAE = VideoCodecChoice("AutoencoderKLHunyuanVideo15", channels=32, spatial=16)


def full() -> Preset:
    """19.4B parameters: 54 dual-stream layers of 2048 in both branches; the video branch is HunyuanVideo-1.5's 8.3B.

    From HunyuanVideo-1.5: widths, heads, depth, RoPE, MLP, the text refiner, the glyph and image entrances, the codec,
    the LLM. Ours: the audio branch of the same shape, the cross-attentions of the paper.
    """
    return Preset(
        name="full",
        description="warm start from HunyuanVideo-1.5",
        transformer=MappingProxyType(
            {
                "video_channels": 32,
                "audio_channels": MMAUDIO.channels,
                "text_dim": 3584,
                "num_heads": 16,
                "rope_axis_dims": (16, 56, 56),
                "num_dual_layers": 54,
                "num_single_layers": 0,
                "mlp_ratio": 4.0,
                "rope_theta": 256.0,
                "text_refiner_layers": 2,
                "glyph_dim": 1472,
                "image_dim": 1152,
            }
        ),
        video=HUNYUAN_15_VAE,
        audio=MMAUDIO,
        text=TextEncoderChoice("Qwen2_5_VLTextModel", 3584, "Qwen/Qwen2.5-VL-7B-Instruct", hidden_layer=2),
        warm_start="hunyuanvideo-1.5",
        repository="hunyuanvideo-community/HunyuanVideo-1.5-480p_t2v",
    )


def full_hv1() -> Preset:
    """32.4B parameters: 20 dual-stream and 40 single-stream layers of 3072 in both branches, patches of 2 x 2.

    From HunyuanVideo-1.0 (12.8B): widths, heads, depth, RoPE, MLP, the text refiner, pooled text, the guidance
    embedding, the codec, the LLM. Ours: as in `full`. This is the paper's layout of M dual and N single layers.
    """
    return Preset(
        name="full-hv1",
        description="warm start from HunyuanVideo-1.0",
        transformer=MappingProxyType(
            {
                "video_channels": 16 * 4,
                "audio_channels": MMAUDIO.channels,
                "text_dim": 4096,
                "num_heads": 24,
                "rope_axis_dims": (16, 56, 56),
                "num_dual_layers": 20,
                "num_single_layers": 40,
                "mlp_ratio": 4.0,
                "rope_theta": 256.0,
                "text_refiner_layers": 2,
                "pooled_dim": 768,
                "guidance_embedding": True,
            }
        ),
        video=VideoCodecChoice("AutoencoderKLHunyuanVideo", channels=16, spatial=8, patch=2),
        audio=MMAUDIO,
        text=TextEncoderChoice("LlamaModel", 4096, "hunyuanvideo-community/HunyuanVideo", hidden_layer=2),
        warm_start="hunyuanvideo-1.0",
        repository="hunyuanvideo-community/HunyuanVideo",
    )


def mid() -> Preset:
    """1.0B parameters in all, every number ours: what one GPU of 24 GB trains, by arithmetic.

    Weights, gradients and AdamW in float32 take 16 bytes a parameter, 16.3 GB. With activation checkpointing, 5 s at
    256 pixels (5,376 tokens) keep 22 MB a layer, and about 0.5 GB inside the one that is computed again. Modulation
    goes through a bottleneck of 128, which saves a third of a dual-stream layer.
    """
    return Preset(
        name="mid",
        description="for one GPU of 24 GB, trained from nothing",
        transformer=MappingProxyType(
            {
                "video_channels": 32,
                "audio_channels": MMAUDIO.channels,
                "text_dim": 2048,
                "num_heads": 8,
                "rope_axis_dims": (16, 56, 56),
                "num_dual_layers": 7,
                "num_single_layers": 14,
                "mlp_ratio": 4.0,
                "rope_theta": 256.0,
                "modulation_rank": 128,
                "gaussian_skip": True,
            }
        ),
        video=HUNYUAN_15_VAE,
        audio=MMAUDIO,
        text=TextEncoderChoice("Qwen2_5_VLTextModel", 2048, "Qwen/Qwen2.5-VL-3B-Instruct", hidden_layer=2),
    )


def pocket() -> Preset:
    """10.4M parameters: the model that comes with the package (`recipes/pocket.py` has its whole life)."""
    with torch.device("meta"):
        config = pocket_recipe.transformer().config
    transformer = {name: value for name, value in config.items() if not name.startswith("_")}
    return Preset(
        name="pocket",
        description="comes with the package, runs on two CPU cores",
        transformer=MappingProxyType(transformer),
        video=VideoCodecChoice("PocketVideoVAE", channels=transformer["video_channels"], spatial=16),
        audio=AudioCodecChoice(("PocketAudioVAE", "PocketVocoder"), transformer["audio_channels"], 16_000, 1_000),
        text=TextEncoderChoice("T5EncoderModel", transformer["text_dim"]),
    )


PRESETS = {"full": full, "full-hv1": full_hv1, "mid": mid, "pocket": pocket}


def preset(name: str) -> Preset:
    """Raises ValueError for a name that is not in `PRESETS`."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]()
