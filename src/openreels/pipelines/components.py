"""Which adapter drives a component: the one table that a new codec or text encoder is entered in.

Components are named by class, as model_index.json names them, so nothing is imported that a folder does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from math import isqrt
from pathlib import Path

import torch
from torch import nn

from openreels.codecs.audio import AudioCodec, MMAudioCodec, PocketAudioCodec
from openreels.codecs.video import VideoCodec
from openreels.encoders.brief import Brief
from openreels.encoders.multimodal import SYSTEM_PROMPT, MultimodalEncoder
from openreels.encoders.text import TextEncoder

__all__ = ["accepted_classes", "adapted_audio", "adapted_text", "adapted_video", "check_fit", "loading_dtypes"]

VIDEO_VAES = {
    "PocketVideoVAE": VideoCodec,
    "AutoencoderKLHunyuanVideo15": VideoCodec,
    "AutoencoderKLHunyuanVideo": VideoCodec,
    "AutoencoderKLWan": VideoCodec,
}
AUDIO_VAES = {"PocketAudioVAE": PocketAudioCodec, "MMAudioVAE": MMAudioCodec}
TEXT_ENCODERS = {
    "T5EncoderModel": TextEncoder,
    "Qwen2_5_VLModel": MultimodalEncoder,
    "Qwen2_5_VLTextModel": MultimodalEncoder,
    "Qwen3VLModel": MultimodalEncoder,
    "Qwen2_5OmniThinkerModel": MultimodalEncoder,
}
# Eyes and ears of a multimodal text encoder.
EYES = ("Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil")
EARS = ("WhisperFeatureExtractor",)
# Small (T5), or made and released in float32 (Wan): these compute in it whatever the machine does fastest.
EXACT = ("T5EncoderModel", "AutoencoderKLWan")


def accepted_classes(name: str) -> Collection[str] | None:
    """Class names that a component may have; None: any, for it only has to go with another one (tokenizer)."""
    vocoders = [codec.vocoder_class.__name__ for codec in AUDIO_VAES.values()]
    tables = {"video_vae": VIDEO_VAES, "audio_vae": AUDIO_VAES, "vocoder": vocoders, "text_encoder": TEXT_ENCODERS}
    return (tables | {"image_processor": EYES, "feature_extractor": EARS}).get(name)


def adapter(table: Mapping[str, type], name: str, component: nn.Module) -> type:
    """Of the component's class or of the nearest it derives from. Raises ValueError."""
    for kind in type(component).__mro__:
        if kind.__name__ in table:
            return table[kind.__name__]
    raise ValueError(f"{name} must be one of {', '.join(table)}, not {type(component).__name__}")


def adapted_video(video_vae: nn.Module, transformer: nn.Module) -> VideoCodec:
    """With the patch by which the transformer's tokens are wider than the VAE's latents. Raises ValueError."""
    codec = adapter(VIDEO_VAES, "video_vae", video_vae)(video_vae)
    codec.patch = max(1, isqrt(transformer.config.video_channels // codec.latent_channels))
    return codec


def adapted_audio(audio_vae: nn.Module, vocoder: nn.Module, channels: int) -> AudioCodec:
    """channels: of the sound, 1 or 2. Raises ValueError."""
    return adapter(AUDIO_VAES, "audio_vae", audio_vae)(audio_vae, vocoder, channels)


def adapted_text(
    text_encoder: nn.Module,
    tokenizer,
    image_processor,
    feature_extractor,
    layer: int,
    system_prompt: str | None,
    brief: Brief | None = None,
) -> TextEncoder | MultimodalEncoder:
    """Processor, extractor, layer and system prompt matter to multimodal encoders alone, the brief to the pocket's.
    Raises ValueError."""
    if adapter(TEXT_ENCODERS, "text_encoder", text_encoder) is TextEncoder:
        return TextEncoder(tokenizer, text_encoder, brief=brief)
    return MultimodalEncoder(
        tokenizer,
        text_encoder,
        image_processor,
        feature_extractor,
        layer=layer,
        system_prompt=SYSTEM_PROMPT if system_prompt is None else system_prompt,
    )


def check_fit(
    transformer: nn.Module,
    video: VideoCodec,
    audio: AudioCodec,
    text: TextEncoder | MultimodalEncoder,
    reader: nn.Module | None = None,
    planner: nn.Module | None = None,
    brief: Brief | None = None,
) -> None:
    """Raises ValueError where the transformer was made for other widths than its components have."""
    config = transformer.config
    widths = {
        "video_channels": (config.video_channels, "video_vae", video.latent_channels),
        "audio_channels": (config.audio_channels, "audio_vae", audio.latent_channels),
        "text_dim": (config.text_dim, "text_encoder", text.width),
    }
    for key, (wanted, name, given) in widths.items():
        if wanted != given:
            raise ValueError(f"{name} gives {given} channels, and the transformer was made for {key} {wanted}")
    for name, part in (("reader", reader), ("planner", planner)):
        ours, theirs = config.layout_classes, part and part.config.classes
        if part is not None and (ours is None or [*ours] != [*theirs]):
            raise ValueError(f"the {name}'s layouts have {theirs} classes, and the transformer was made for {ours}")
    if reader is not None:
        made = (reader.config.channels, reader.config.sound_channels)
        given = (video.latent_channels, audio.latent_channels)
        if made != given:
            raise ValueError(f"video_vae and audio_vae give {given} channels, and the reader was made for {made}")
    for name, part in (("brief", brief), ("planner", planner)):
        if part is None:
            continue
        if part.config.text_dim != text.width:
            raise ValueError(
                f"text_encoder gives {text.width} channels, and the {name} was made for {part.config.text_dim}"
            )
        if part.config.reads is not None and part.config.reads != text.fingerprint:
            raise ValueError(f"the {name} has learnt to read another text_encoder: train it anew for this one")
    for name, part in (("transformer", transformer), ("planner", planner)):
        if brief is not None and part is not None and part.config.brief_numbers not in (0, brief.numbers):
            raise ValueError(
                f"the brief says {brief.numbers} numbers, and the {name} was made for {part.config.brief_numbers}"
            )


def loading_dtypes(folder: Path, fast: torch.dtype) -> dict[str, torch.dtype]:
    """In which number format `from_pretrained` shall load each part of a folder: `fast` for what is large."""
    index = json.loads((folder / "model_index.json").read_text())
    large = [name for name in ("transformer", "video_vae", "text_encoder") if index[name][1] not in EXACT]
    return {"default": torch.float32} | dict.fromkeys(large, fast)
