"""The frozen vocabulary."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from openreels.types import Context, HiddenStates


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


def test_contexts_of_different_lengths_and_sources_stack(tiny):
    image = HiddenStates(tiny.noise(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
    long, short = replace(tiny.context(), image=image), tiny.context(tokens=4, seed=5)
    both = Context.stack([long, short])
    assert both.hidden_BLD.shape == (4, 5, 8) and both.mask_BL.tolist()[2] == [True] * 4 + [False]
    assert torch.equal(both.hidden_BLD[2:, :4], short.hidden_BLD)
    assert both.image.hidden_BLD.shape == (4, 3, 6) and both.image.mask_BL.any(1).tolist() == [True, True, False, False]
    assert both.glyph is None and both.guidance_B is None


def test_a_context_keeps_what_its_tokens_name(tiny):
    named = replace(tiny.context(), named_BL=torch.tensor([[0, 0, 1, 0, 0], [-2, 0, 0, 0, 0]]))
    assert torch.equal(named.to(torch.float16).named_BL, named.named_BL)
    assert named.rows(torch.tensor([1])).named_BL.tolist() == [[-2, 0, 0, 0, 0]]
    both = Context.stack([tiny.context(tokens=4, seed=5), named])
    assert both.named_BL.tolist() == [[0] * 5, [0] * 5, [0, 0, 1, 0, 0], [-2, 0, 0, 0, 0]]
    assert Context.stack([tiny.context(), tiny.context()]).named_BL is None


def test_a_pooled_vector_is_for_all_contexts_or_none(tiny):
    pooled = replace(tiny.context(), pooled_BE=torch.ones(2, 3))
    assert Context.stack([pooled, pooled]).pooled_BE.shape == (4, 3)
    with pytest.raises(ValueError, match="pooled_BE is given for 1 of 2 contexts"):
        Context.stack([pooled, tiny.context()])


def test_a_context_moves_with_its_sources_and_never_rounds_the_guidance(tiny):
    states = HiddenStates(tiny.noise(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
    moved = replace(tiny.context(), glyph=states, guidance_B=torch.tensor([6.1, 1.0])).to(torch.bfloat16)
    assert isinstance(moved, Context) and moved.glyph.hidden_BLD.dtype == torch.bfloat16
    assert moved.glyph.mask_BL.dtype == torch.bool and moved.guidance_B.dtype == torch.float32
