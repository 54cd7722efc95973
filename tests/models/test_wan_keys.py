"""Key maps as tables, and the config of a checkpoint from its shapes. The full-size tables: tests/golden."""

import pytest

from openreels.models.key_map import KeyMap
from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_keys import TRANSFORMER_ORIGINAL, is_original_transformer, transformer_config

SIZES = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 12, "freq_dim": 16, "ffn_dim": 48}
SIZES |= {"num_layers": 2}


def shapes(**config) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in SkyReelsV3Transformer(**SIZES, **config).state_dict().items()}


def test_a_table_reads_both_ways():
    names = KeyMap([("a.#.b.*", "x.#.y.*"), ("qkv.*", ("q.*", "k.*"))])
    assert names.ours("a.12.b.weight") == ("x.12.y.weight",)
    assert names.theirs("x.12.y.weight") == ("a.12.b.weight", 0, 1)
    assert names.ours("qkv.bias") == ("q.bias", "k.bias")
    assert names.theirs("k.bias") == ("qkv.bias", 1, 2)
    assert names.ours("a.b.b.weight") is None
    assert names.theirs("qkv.bias") is None


def test_all_of_ours_have_an_original_name():
    avatar = {"image_dim": 20, "added_kv_proj_dim": 32, "audio_dim": 6, "audio_layers": 2}
    for key in shapes(**avatar):
        theirs, index, count = TRANSFORMER_ORIGINAL.theirs(key)
        assert TRANSFORMER_ORIGINAL.ours(theirs) == (key,) and (index, count) == (0, 1)


@pytest.mark.parametrize(
    ("built", "settings", "original", "variant"),
    [
        ({}, {"num_attention_heads": 2}, False, "r2v"),
        ({}, {"num_attention_heads": 2, "variant": "v2v"}, False, "v2v"),
        ({}, {"num_heads": 2}, True, "v2v"),
        ({"in_channels": 36, "audio_dim": 6, "audio_layers": 2}, {"num_heads": 2, "audio_layers": 2}, True, "a2v"),
        ({"in_channels": 36, "audio_dim": 1, "audio_window": 3}, {"num_heads": 2}, True, "a2v"),
    ],
)
def test_config_from_shapes(built, settings, original, variant):
    found = transformer_config(shapes(**built), settings, original=original)
    assert found["variant"] == variant
    model = SkyReelsV3Transformer(**found)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == shapes(**built)


def test_the_callers_word_on_the_variant_counts_most():
    assert transformer_config(shapes(), {"num_heads": 2}, original=True, variant="r2v")["variant"] == "r2v"


def test_heads_of_an_unknown_width():
    with pytest.raises(ValueError, match=r"width of 32 does not divide into 0 heads: config\.json must give num_heads"):
        transformer_config(shapes(), original=False)


def test_a_config_that_contradicts_the_weights():
    settings = {"num_heads": 2, "dim": 64, "num_layers": 3, "patch_size": [1, 2, 2]}
    with pytest.raises(ValueError, match=r"num_layers 3 \(the weights: 2\), dim 64 \(the weights: 32\)"):
        transformer_config(shapes(), settings, original=False)


def test_what_is_no_wan_transformer():
    with pytest.raises(ValueError, match=r"there is no patch_embedding\.weight"):
        transformer_config({"a": (1,)}, original=False)
    assert not is_original_transformer(shapes())
