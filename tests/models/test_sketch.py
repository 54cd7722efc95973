"""Sketches of what layouts say, and what the towers make of them. Legend: see models/sketch.py."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.path import interpolate, velocity
from openreels.models.sketch import Sketch, likely_velocity
from openreels.types import Context


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
