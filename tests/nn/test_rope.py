"""Rotary positions. Legend: see nn/rope.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.nn.rope import apply_rotary, rotary_table

DIMS = (4, 2, 6)
places = st.tuples(*[st.floats(-20, 20, width=32)] * 3)


def rotated(x: torch.Tensor, place: tuple[float, ...]) -> torch.Tensor:
    table = rotary_table(torch.tensor([place]), DIMS, 100.0)
    return apply_rotary(x[None, None, None], table)[0, 0, 0]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(places, places, places)
def test_products_depend_on_the_difference_of_positions_alone(tiny_q_k, a, b, shift):
    q, k = tiny_q_k
    moved = rotated(q, tuple(x + s for x, s in zip(a, shift, strict=True)))
    moved_too = rotated(k, tuple(x + s for x, s in zip(b, shift, strict=True)))
    assert_close(moved @ moved_too, rotated(q, a) @ rotated(k, b), atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def tiny_q_k(tiny):
    return tiny.noise(2, 12)


def test_rotation_keeps_length_and_position_zero_changes_nothing(tiny_q_k):
    q, _ = tiny_q_k
    assert_close(rotated(q, (3.5, -2.0, 0.25)).norm(), q.norm())
    assert torch.equal(rotated(q, (0.0, 0.0, 0.0)), q)


@pytest.mark.parametrize(("axis", "channels"), [(0, slice(0, 4)), (1, slice(4, 6)), (2, slice(6, 12))])
def test_each_axis_turns_its_own_channels_only(tiny_q_k, axis, channels):
    q, _ = tiny_q_k
    place = tuple(1.5 if i == axis else 0.0 for i in range(3))
    changed = (rotated(q, place) - q).abs() > 1e-4
    assert changed[channels].all() and changed.sum() == channels.stop - channels.start


def test_the_first_pair_turns_by_one_radian_per_unit():
    table = rotary_table(torch.tensor([[0.5]]), (4,), 100.0)
    assert_close(table.sin_Nd[0], torch.tensor([0.5, 0.05]).sin())
    assert_close(table.cos_Nd[0], torch.tensor([0.5, 0.05]).cos())


@pytest.mark.parametrize("dims", [(4, 4), (3, 5, 4)])
def test_channels_that_do_not_fit_the_positions_are_refused(dims):
    with pytest.raises(ValueError, match="even numbers"):
        rotary_table(torch.zeros(1, 3), dims, 100.0)
