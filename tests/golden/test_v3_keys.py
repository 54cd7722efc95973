"""Names, shapes and sizes of the full-size networks against the official classes, on the meta device."""

from collections.abc import Callable
from math import prod

import pytest
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel, Wav2Vec2Config, Wav2Vec2Model

from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_keys import (
    CLIP_ORIGINAL,
    TRANSFORMER_ORIGINAL,
    UMT5_ORIGINAL,
    VAE_ORIGINAL,
    KeyMap,
    is_original_transformer,
    transformer_config,
)

Shapes = dict[str, tuple[int, ...]]
# The keyword arguments of the original classes' config.json (spec/v3.md, section 2).
ORIGINAL = {
    "dim": 5120,
    "ffn_dim": 13824,
    "freq_dim": 256,
    "out_dim": 16,
    "num_heads": 40,
    "num_layers": 40,
    "eps": 1e-6,
}
AUDIO = {"audio_window": 5, "intermediate_dim": 512, "output_dim": 768, "context_tokens": 32, "vae_scale": 4}


def empty(build: Callable[[], nn.Module]) -> Shapes:
    """Shapes of a model that takes no memory."""
    with init_empty_weights():
        model = build()
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def renamed(theirs: Shapes, names: KeyMap, ignore: tuple[str, ...] = ()) -> Shapes:
    """Their shapes under our names; every key must be known, and the way back must lead to it."""
    ours: Shapes = {}
    for key, shape in theirs.items():
        if key.startswith(ignore):
            continue
        parts = names.ours(key)
        assert parts, key
        for index, name in enumerate(parts):
            assert names.theirs(name) == (key, index, len(parts))
            ours[name] = (shape[0] // len(parts), *shape[1:])
    return ours


def without_ones(shapes: Shapes) -> Shapes:
    return {key: tuple(size for size in shape if size != 1) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("r2v", {}),
        ("v2v", {**ORIGINAL, "in_dim": 16}),
        ("a2v", {**ORIGINAL, **AUDIO, "in_dim": 36, "model_type": "i2v"}),
    ],
)
def test_transformers(table, parameter_counts, variant, settings):
    theirs = table(f"{variant}_transformer")
    original = is_original_transformer(theirs)
    ours = renamed(theirs, TRANSFORMER_ORIGINAL) if original else theirs
    config = transformer_config(ours, settings, original=original)
    assert config["variant"] == variant
    assert (config["num_attention_heads"], config["attention_head_dim"]) == (40, 128)
    built = empty(lambda: SkyReelsV3Transformer(**config))
    assert built == ours
    assert sum(map(prod, built.values())) == parameter_counts[f"{variant}_transformer"]
    if variant == "a2v":
        keys = ("audio_dim", "audio_layers", "audio_window", "audio_hidden_dim", "audio_token_dim", "audio_tokens")
        assert [config[key] for key in keys] == [768, 12, 5, 512, 768, 32]


@pytest.mark.parametrize("variant", ["v2v", "a2v"])
def test_the_map_agrees_with_the_one_of_the_goldens(table, variant):
    for theirs, diffusers in table("key_maps_wan_to_diffusers")[f"{variant}_transformer"].items():
        assert TRANSFORMER_ORIGINAL.ours(theirs) == (diffusers,)


def test_two_of_the_networks_are_diffusers_own(table):
    assert empty(WanTransformer3DModel) == table("r2v_transformer")
    assert renamed(table("v2v_transformer"), TRANSFORMER_ORIGINAL) == table("r2v_transformer")


def test_vae(table):
    ours = empty(AutoencoderKLWan)
    assert renamed(table("wan21_vae_pth"), VAE_ORIGINAL) == ours == table("r2v_vae_diffusers")
    for theirs, diffusers in table("key_maps_wan_to_diffusers")["wan21_vae_pth"].items():
        assert VAE_ORIGINAL.ours(theirs) == (diffusers,)


def test_text_encoder(table):
    sizes = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    ours = empty(lambda: UMT5EncoderModel(UMT5Config(**sizes)))
    assert ours == table("r2v_text_encoder_transformers")
    del ours["encoder.embed_tokens.weight"]  # the same tensor as shared.weight
    assert renamed(table("umt5_xxl_encoder_pth"), UMT5_ORIGINAL) == ours


def test_image_encoder(table):
    sizes = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
    ours = empty(lambda: CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=224, patch_size=14)))
    theirs = table("clip_xlm_roberta_vit_h_14_pth")
    theirs = renamed(theirs, CLIP_ORIGINAL, ignore=("textual.", "log_scale", "visual.head"))
    assert without_ones(theirs) == without_ones({key.removeprefix("vision_model."): s for key, s in ours.items()})


def test_audio_encoder(table):
    config = Wav2Vec2Config(feat_extract_norm="group", conv_bias=False, do_stable_layer_norm=False)
    assert empty(lambda: Wav2Vec2Model(config)) == table("wav2vec2_base")
