"""The frozen vocabulary."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from openreels.types import Context


def test_a_state_cannot_be_changed_in_place(tiny):
    with pytest.raises(FrozenInstanceError):
        tiny.video().time_B = torch.ones(2)


def test_at_moves_along_the_path_and_keeps_the_task(tiny):
    state = tiny.with_references(tiny.video())
    moved = state.at(tiny.noise(2, 12, 4, seed=7), torch.ones(2))
    assert torch.equal(moved.time_B, torch.ones(2)) and not torch.equal(moved.noisy_BNC, state.noisy_BNC)
    for name in ("given_BNC", "mask_BN1", "positions_NP", "reference_BRC", "reference_positions_RP"):
        assert getattr(moved, name) is getattr(state, name)


def test_half_precision_never_touches_times_and_positions(tiny):
    """bfloat16 has 8 bits: position 100.3 would become 100.5."""
    state = tiny.with_references(tiny.audio()).to(dtype=torch.bfloat16)
    for name in ("noisy_BNC", "given_BNC", "mask_BN1", "reference_BRC"):
        assert getattr(state, name).dtype == torch.bfloat16
    for name in ("time_B", "positions_NP", "reference_positions_RP"):
        assert getattr(state, name).dtype == torch.float32


def test_a_state_counts_its_tokens_and_references(tiny):
    state = tiny.with_references(tiny.video(), count=3)
    assert (state.tokens, state.references) == (tiny.VIDEO.tokens, 3) == (12, 3)


def test_a_context_keeps_its_mask_boolean(tiny):
    half = tiny.context().to(torch.float16)
    assert isinstance(half, Context) and half.hidden_BLD.dtype == torch.float16 and half.mask_BL.dtype == torch.bool
