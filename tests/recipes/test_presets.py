"""Presets: sizes counted on the meta device, and what the presets promise of codecs and text."""

import inspect

import pytest
import torch

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.recipes.presets import PRESETS, preset


def count(model: torch.nn.Module) -> dict[str, int]:
    """Parameters of each part; they add up to the model."""
    parts = dict.fromkeys(("video", "audio", "text_cross", "audio_video"), 0)
    for name, parameter in model.named_parameters():
        if "_from_" in name:
            part = "audio_video"
        elif "text_cross" in name:
            part = "text_cross"
        else:
            part = "audio" if name.startswith("audio.") or ".audio." in name else "video"
        parts[part] += parameter.numel()
    assert sum(parts.values()) == model.num_parameters()
    return parts


SIZES = {
    # The video branch of `full` has exactly the 8,326,608,160 parameters of HunyuanVideo-1.5.
    "full": {
        "video": 8_326_608_160,
        "audio": 8_311_458_856,
        "text_cross": 906_868_224,
        "audio_video": 1_813_736_448,
    },
    "full-hv1": {
        "video": 12_821_212_224,
        "audio": 12_798_832_680,
        "text_cross": 2_266_414_080,
        "audio_video": 4_532_828_160,
    },
    "mid": {"video": 376_800_928, "audio": 376_783_528, "text_cross": 88_257_792, "audio_video": 176_515_584},
    "pocket": {"video": 4_958_133, "audio": 3_070_853, "text_cross": 745_280, "audio_video": 1_492_540},
}


@pytest.mark.parametrize("name", PRESETS)
def test_sizes(name):
    model = preset(name).build()
    assert all(parameter.is_meta for parameter in model.parameters())
    assert count(model) == SIZES[name]


def test_full_is_twice_its_source_and_a_sixth():
    parts = SIZES["full"]
    assert sum(parts.values()) == 19_358_671_688
    assert sum(parts.values()) / parts["video"] == pytest.approx(2.325, abs=0.001)


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_of_the_transformer_is_one_of_its_arguments(name):
    chosen = preset(name)
    known = set(inspect.signature(SkyReelsV4Transformer.__init__).parameters) - {"self"}
    assert set(chosen.transformer) <= known
    assert chosen.name == name


@pytest.mark.parametrize("name", PRESETS)
def test_codecs_and_text_fit_the_transformer(name):
    """A token is 16 pixels wide; its channels are the codec's times the positions in a patch."""
    chosen = preset(name)
    assert chosen.video.spatial * chosen.video.patch == 16
    assert chosen.transformer["video_channels"] == chosen.video.channels * chosen.video.patch**2
    assert chosen.transformer["audio_channels"] == chosen.audio.channels
    assert chosen.transformer["text_dim"] == chosen.text.width


def test_the_library_classes_have_the_geometry_that_is_said():
    import diffusers

    for name in ("full", "full-hv1"):
        codec = preset(name).video
        arguments = inspect.signature(getattr(diffusers, codec.class_name).__init__).parameters
        assert arguments["latent_channels"].default == codec.channels
        assert arguments["spatial_compression_ratio"].default == codec.spatial
        assert arguments["temporal_compression_ratio"].default == codec.temporal


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="no preset 'huge'; there are full, full-hv1, mid, pocket"):
        preset("huge")
