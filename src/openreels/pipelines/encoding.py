"""The parts of a model that turn clips and captions into what its transformer is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.encoders.multimodal import MultimodalEncoder
from openreels.encoders.text import TextEncoder
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.precision import fastest_dtype
from openreels.pipelines.components import loading_dtypes
from openreels.pipelines.reel import hash_folder
from openreels.pipelines.v4 import SkyReelsV4Pipeline

__all__ = ["EncodingParts", "load_encoding_parts"]

# Of a folder; its index names the layer of the text encoder that is read, and how many channels the sound has.
DECIDING = ("model_index.json", "video_vae", "audio_vae", "text_encoder", "tokenizer", "image_processor",
            "feature_extractor")  # fmt: skip


@dataclass(frozen=True)
class EncodingParts:
    """weight_hash: of all that decides the latents; training the transformer leaves it as it is."""

    video: VideoCodec
    audio: AudioCodec
    text: TextEncoder | MultimodalEncoder
    weight_hash: str


def load_encoding_parts(folder: Path, device: str = "cpu", tiling: bool | None = None) -> EncodingParts:
    """From a V4 model in diffusers' layout, whose transformer's weights are not read.

    tiling: the video codec works in tiles where it can, which gives slightly other latents; None: on a GPU, whose
    memory a long clip in one piece would not fit into (HunyuanVideo-1.5's codec, 15 s of 480p: 25.6 GB a tensor).
    Raises OSError and ValueError where a part is missing or does not fit.
    """
    config = SkyReelsV4Transformer.load_config(folder / "transformer")
    with torch.device("meta"):  # its sizes are needed to see that the parts fit, its weights are not
        transformer = SkyReelsV4Transformer.from_config(config)
    dtypes = loading_dtypes(folder, fastest_dtype(device))
    parts = {"transformer": transformer, "brief": None, "reader": None, "planner": None}
    pipeline = SkyReelsV4Pipeline.from_pretrained(folder, **parts, dtype=dtypes, local_files_only=True)
    for part in (pipeline.video_vae, pipeline.audio_vae, pipeline.text_encoder):
        part.to(device)
    if (device != "cpu" if tiling is None else tiling) and hasattr(pipeline.video_vae, "use_tiling"):
        pipeline.video_codec.tiling = True
    return EncodingParts(
        pipeline.video_codec, pipeline.audio_codec, pipeline.encoder, hash_folder(folder, within=DECIDING)
    )
