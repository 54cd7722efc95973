"""Parts of the full-size classes, tiny: around a transformer that is exported, and for encoding clips."""

import json
from pathlib import Path

import pytest
import torch

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.assembly import assemble, parts_in
from openreels.pipelines.encoding import load_encoding_parts
from openreels.pipelines.v4 import SkyReelsV4Pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(full, tmp_path_factory) -> Path:
    """A whole model with the codecs of HunyuanVideo-1.5 and MMAudio."""
    tokenizer = full.tokenizer()
    audio_vae, vocoder = full.sound_autoencoder()
    torch.manual_seed(0)
    pipeline = SkyReelsV4Pipeline(
        transformer=SkyReelsV4Transformer(4, 6, 32, 2, (4, 6, 6), 1, 1, modulation_rank=4),
        video_vae=full.video_autoencoder("AutoencoderKLHunyuanVideo15"),
        audio_vae=audio_vae,
        vocoder=vocoder,
        text_encoder=full.qwen("qwen2_5_vl_text", tokenizer),
        tokenizer=tokenizer,
    )
    folder = tmp_path_factory.mktemp("full") / "model"
    pipeline.save_pretrained(folder)
    return folder


def test_clips_are_encoded_in_tiles_where_the_codec_has_them(folder, tiny_pipeline, tmp_path):
    assert not load_encoding_parts(folder).video.tiling
    parts = load_encoding_parts(folder, tiling=True)
    assert parts.video.tiling
    frames = torch.randint(0, 256, (1, 5, 288, 32, 3), dtype=torch.uint8)  # more than one tile high
    assert parts.video.encode(frames).shape == (1, 2 * 18 * 2, 4)
    tiny_pipeline.save_pretrained(tmp_path)
    assert not load_encoding_parts(tmp_path, tiling=True).video.tiling


def test_an_assembly_reads_no_weights_and_computes_its_filters(folder, tmp_path):
    assembly = assemble(SkyReelsV4Transformer(4, 6, 32, 2, (4, 6, 6), 1, 1), parts_in(folder), tmp_path / "made")
    for part in (assembly.pipeline.audio_vae, assembly.pipeline.vocoder):
        assert all(parameter.is_meta for parameter in part.parameters())
        assert not any(buffer.is_meta for buffer in part.buffers())
    assert json.loads((folder / "model_index.json").read_text())["vocoder"][1] == "MMAudioVocoder"
