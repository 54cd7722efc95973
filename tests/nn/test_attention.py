"""Attention: every fast path equals the plain one; the time bias; cross-attention. Legend: see nn/attention.py."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from openreels.nn.attention import (
    SMALL,
    CrossAttention,
    QueryKeyNorm,
    TimeDistanceBias,
    attention,
    key_mask_bias,
    reference_attention,
)
from openreels.nn.rope import rotary_table

pytestmark = pytest.mark.usefixtures("one_thread")
HEADS, WIDTH = 2, 8


def qkv(noise, queries: int, keys: int) -> list[torch.Tensor]:
    return [noise(2, n, HEADS, WIDTH, seed=seed) for seed, n in enumerate((queries, keys, keys))]


def some_bias(noise, kind: str, queries: int, keys: int) -> torch.Tensor | None:
    """None, a mask of keys, or one that differs per head and query."""
    if kind == "mask":
        return key_mask_bias(noise(2, keys, seed=7) > 0, torch.float32)
    return noise(1, HEADS, queries, keys, seed=8) if kind == "full" else None


@pytest.mark.parametrize("kind", ["none", "mask", "full"])
def test_the_reference_is_softmax_attention(tiny, kind):
    q, k, v = qkv(tiny.noise, 5, 7)
    bias = some_bias(tiny.noise, kind, 5, 7)
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]
    expected = nn.functional.scaled_dot_product_attention(*heads_first, attn_mask=bias).transpose(1, 2)
    assert_close(reference_attention(q, k, v, bias), expected)


@pytest.mark.parametrize("kind", ["none", "mask", "full"])
@pytest.mark.parametrize("sizes", [(40, SMALL + 1), (SMALL + 1, 40), (SMALL, SMALL)])
def test_the_fast_path_equals_the_reference(tiny, kind, sizes):
    q, k, v = qkv(tiny.noise, *sizes)
    bias = some_bias(tiny.noise, kind, *sizes)
    assert_close(attention(q, k, v, bias), reference_attention(q, k, v, bias), atol=1e-5, rtol=1e-4)


def test_the_fast_path_has_the_gradients_of_the_reference(tiny):
    inputs = [*qkv(tiny.noise, 20, SMALL + 1), some_bias(tiny.noise, "full", 20, SMALL + 1)]
    gradients = []
    for way in (attention, reference_attention):
        leaves = [x.clone().requires_grad_() for x in inputs]
        (way(*leaves) * tiny.noise(2, 20, HEADS, WIDTH, seed=9)).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    assert_close(*gradients, atol=1e-5, rtol=1e-3)


def test_masked_keys_have_no_weight(tiny):
    q, k, v = qkv(tiny.noise, 4, 6)
    mask = torch.tensor([[True] * 4 + [False] * 2] * 2)
    assert_close(attention(q, k, v, key_mask_bias(mask, q.dtype)), attention(q, k[:, :4], v[:, :4]))


def test_query_key_norm_makes_length_irrelevant(tiny):
    q, k, _ = qkv(tiny.noise, 4, 6)
    norm = QueryKeyNorm(WIDTH)
    assert_close(norm(100 * q, 0.1 * k), norm(q, k), atol=1e-3, rtol=1e-3)


# --- time bias -------------------------------------------------------------------------------------------------------


def bias_of(layer: TimeDistanceBias, query_times, key_times) -> torch.Tensor:
    query, key = torch.tensor(query_times), torch.tensor(key_times)
    return layer(layer.basis(query, key), len(query))


def test_slope_zero_is_no_bias_at_all():
    layer = TimeDistanceBias(4, reach=2.0, knots_per_frame=4, slope=0.0)
    assert not bias_of(layer, [0.0, 1.3], [-9.0, 0.2, 5.0]).any()


def test_heads_start_by_looking_nearby_each_half_as_sharply_and_the_last_not_at_all():
    layer = TimeDistanceBias(4, reach=2.0, knots_per_frame=4, slope=3.0)
    assert_close(bias_of(layer, [1.0], [2.5])[0, :, 0, 0], torch.tensor([-4.5, -2.25, -1.125, 0.0]))


def test_between_knots_the_bias_is_interpolated_and_beyond_the_reach_constant():
    layer = TimeDistanceBias(1, reach=1.0, knots_per_frame=2, slope=0.0)
    layer.table_HK.data = torch.tensor([[10.0, 20.0, 40.0, 80.0, 160.0]])  # at distances -1, -0.5, 0, 0.5, 1
    bias = bias_of(layer, [0.0], [1.0, 0.75, 0.1, 0.0, -0.5, -0.875, -3.0, 7.0])
    assert_close(bias[0, 0, 0], torch.tensor([10.0, 15.0, 36.0, 40.0, 80.0, 140.0, 160.0, 10.0]))


def test_the_bias_has_one_row_per_query_and_one_column_per_key():
    layer = TimeDistanceBias(2, reach=4.0, knots_per_frame=4, slope=1.0)
    bias = bias_of(layer, [0.0, 1.0, 2.0], [0.0, 3.0])
    assert bias.shape == (1, 2, 3, 2)
    assert_close(bias[0, 0], -torch.tensor([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0]]))


# --- cross-attention -------------------------------------------------------------------------------------------------


def test_a_fresh_cross_attention_is_silent_and_can_learn(tiny):
    layer = CrossAttention(16, HEADS)
    out = layer(tiny.noise(2, 3, 16), tiny.noise(2, 5, 16, seed=1))
    assert not out.any()
    out.sum().backward()
    assert layer.to_out.weight.grad.any()


def test_cross_attention_sees_only_time_differences(tiny):
    layer = tiny.shake(CrossAttention(16, HEADS), std=0.5)
    x, y = tiny.noise(1, 3, 16), tiny.noise(1, 4, 16, seed=1)

    def out(query_start: float, key_start: float) -> torch.Tensor:
        starts = (query_start, 3), (key_start, 4)
        return layer(x, y, tuple(rotary_table(s + torch.arange(n)[:, None], (WIDTH,), 100.0) for s, n in starts))

    assert_close(out(5.3, 5.3), out(0.0, 0.0), atol=1e-5, rtol=1e-4)
    assert (out(0.0, 2.0) - out(0.0, 0.0)).abs().max() > 1e-3
