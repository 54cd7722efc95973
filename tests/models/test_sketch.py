"""Sketches of what layouts say, and what the towers make of them. Legend: see models/sketch.py."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.path import interpolate, velocity
from openreels.models.sketch import Sketch, Sketched, likely_velocity
from openreels.models.surroundings import Surroundings
from openreels.types import Context

from .surrounded import clip, draw


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.5, 0.2), (-0.7, 3.0)])
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9])
def test_a_likely_velocity_is_the_best_linear_one(t, mean, variance):
    """Of many normal draws, no other line through the same noisy latents comes nearer to the velocity."""
    draws = torch.Generator().manual_seed(0)
    data = mean + variance**0.5 * torch.randn(1, 200_000, 1, generator=draws)
    noise = torch.randn(data.shape, generator=draws)
    time_B = torch.tensor([t])
    noisy, true = interpolate(data, noise, time_B), velocity(data, noise)
    found = likely_velocity(noisy, time_B, mean, variance)
    design = torch.cat([noisy[0], torch.ones_like(noisy[0])], dim=1)
    best = design @ torch.linalg.lstsq(design, true[0]).solution
    assert (found[0] - best).abs().mean() < 0.01


@pytest.fixture
def sketch() -> Sketch:
    torch.manual_seed(0)
    return Sketch(numbers=5, text_dim=8, channels=3, width=16, waved=[1]).eval()


def context() -> Context:
    draws = torch.Generator().manual_seed(1)
    return Context(torch.randn(2, 4, 8, generator=draws), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool())


@torch.no_grad()
def test_a_sketch_goes_by_its_own_token_and_the_whole_prompt(sketch):
    told = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(2))
    text = context()
    found = sketch(told, text)
    assert found.mean_BNC.shape == (2, 6, 3) and found.variance_BN1.shape == (2, 6, 1)
    assert (found.variance_BN1 > 0).all()
    other = told.clone()
    other[0, 2] += 1.0
    changed = (sketch(other, text).mean_BNC != found.mean_BNC).any(-1)
    assert changed.nonzero().tolist() == [[0, 2]]
    padded = replace(text, hidden_BLD=text.hidden_BLD + (~text.mask_BL[..., None]) * 9.0)
    assert_close(sketch(told, padded), found)
    said = replace(text, hidden_BLD=text.hidden_BLD + torch.tensor([1.0, 0.0])[:, None, None] * torch.eye(8)[0])
    assert (sketch(told, said).mean_BNC[0] != found.mean_BNC[0]).all()
    nothing = Context(text.hidden_BLD[:1], torch.zeros(1, 4, dtype=torch.bool))
    assert sketch(told[:1], nothing).mean_BNC.isfinite().all()


@pytest.fixture
def seeing() -> Sketch:
    """One that looks in pictures, and has learnt something of it."""
    torch.manual_seed(0)
    sketch = Sketch(numbers=5, text_dim=8, channels=3, width=16, waved=[1], layers=4, sees=True).eval()
    for parameter in sketch.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return sketch


def changed(one: Sketched, other: Sketched) -> list[list[bool]]:
    """Of which tokens the means differ."""
    return (one.mean_BNC != other.mean_BNC).any(-1).tolist()


@torch.no_grad()
def test_a_sketch_sees_what_is_given_beside_each_token(sketch):
    torch.nn.init.normal_(sketch.enter_beside.weight)
    told, text = draw(2, 6, 6, seed=2), context()
    blind, nothing = sketch(told, text), sketch(told, text, Surroundings.of(clip()))
    assert changed(blind, nothing) == [[False] * 6] * 2
    # This one has no eyes for pictures: whatever is given elsewhere is nothing to it.
    assert changed(sketch(told, text, Surroundings.of(clip({1: 1.0}))), blind) == [[False, True] * 3] * 2


@torch.no_grad()
def test_a_sketch_looks_for_what_is_given_elsewhere(seeing):
    told, text = draw(2, 6, 6, seed=2), context()
    nothing = seeing(told, text, Surroundings.of(clip()))
    some = Surroundings.of(clip({0: 1.0}))
    nothing_beside = some._replace(beside_BNK=torch.zeros_like(some.beside_BNK))
    assert changed(seeing(told, text, nothing_beside), nothing) == [[True] * 6] * 2
    state = clip(references=2)
    shown = seeing(told, text, Surroundings.of(state))
    other = state.reference_BRC.clone()
    other[1] += 1.0
    found = seeing(told, text, Surroundings.of(replace(state, reference_BRC=other)))
    assert changed(found, shown) == [[False] * 6, [True] * 6]


@torch.no_grad()
def test_a_sketch_looks_for_what_the_prompt_says_of_a_picture(seeing):
    told, text = draw(2, 6, 6, seed=2), context()
    shown = Surroundings.of(clip(references=4))  # two stills
    named = lambda *names: replace(text, named_BL=torch.tensor([names, [0] * 4]))  # noqa: E731
    found = seeing(told, text, shown)
    other = seeing(told, named(0, 2, 0, 0), shown)
    assert changed(other, found) == [[True] * 6, [False] * 6]
    assert changed(other, seeing(told, named(0, 1, 0, 0), shown))[0] == [True] * 6
    assert changed(found, seeing(told, named(0, 3, 0, 0), shown)) == [[False] * 6] * 2


@torch.no_grad()
def test_some_tokens_are_sketched_as_they_are_among_all(seeing):
    told, text = draw(2, 6, 6, seed=2), context()
    surroundings = Surroundings.of(clip({0: 1.0, 3: 0.5}, references=8))
    index = torch.tensor([[5, 0, 2], [1, 1, 4]])
    some = seeing(told.gather(1, index[..., None].expand(-1, -1, 6)), text, surroundings.at(index))
    every = seeing(told, text, surroundings)
    assert_close(some.mean_BNC, every.mean_BNC.gather(1, index[..., None].expand(-1, -1, 3)))
    assert_close(some.variance_BN1, every.variance_BN1.gather(1, index[..., None]))


@torch.no_grad()
def test_eyes_are_shut_at_first():
    torch.manual_seed(0)
    sketch = Sketch(numbers=5, text_dim=8, channels=3, width=16, layers=2, sees=True)
    told, text = draw(2, 6, 6, seed=2), context()
    found = sketch(told, text, Surroundings.of(clip({0: 1.0}, references=8)))
    assert changed(found, sketch(told, text)) == [[False] * 6] * 2
