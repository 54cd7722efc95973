"""Sketches of what layouts say, and what the towers make of them. Legend: see models/sketch.py."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.path import interpolate, velocity
from openreels.models.sketch import Sketch, beside, likely_velocity
from openreels.tasks.states import audio_state, video_state
from openreels.types import AudioShape, Context, StreamState, VideoShape


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


SHAPE = VideoShape(9, 32, 32, Fraction(16), latent_frames=3, latent_height=1, latent_width=2, latent_channels=3)


def draw(*size: int, seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def clip(kept: dict[int, float] | None = None, references: int = 0) -> StreamState:
    """Two clips of three frames with two tokens each. kept: token -> which share of it is given."""
    mask_BN1 = torch.zeros(2, 6, 1)
    for token, share in (kept or {}).items():
        mask_BN1[:, token] = share
    positions_RP = torch.zeros(references, 3)
    positions_RP[:, 0] = torch.arange(references) // 2 - references / 2
    return replace(
        video_state(SHAPE, 2), given_BNC=draw(2, 6, 3, seed=3), mask_BN1=mask_BN1,
        reference_BRC=draw(2, references, 3, seed=4), reference_positions_RP=positions_RP,
    )  # fmt: skip


def test_nothing_given_is_nothing_beside():
    assert not beside(clip()).any() and beside(clip()).shape == (2, 6, 3 + 3)


def test_beside_a_token_is_what_is_given_of_it_or_of_its_place_nearest_in_time():
    state = clip({0: 1.0, 4: 1.0, 3: 0.25})
    found = beside(state)
    of = lambda token, *rest: torch.cat([state.given_BNC[:, token], torch.tensor(rest).expand(2, 3)], -1)  # noqa: E731
    near, far = 1 / 8, 2 / 8
    # Place 0 is given in frames 0 and 2: frame 1 takes the former of two that are as near. Place 1 is nowhere whole.
    expected = [of(0, 1.0, 0.0, 0.0), torch.zeros(2, 6), of(0, 1.0, near, 0.0), of(3, 0.25, 0.0, 0.0)]
    expected += [of(4, 1.0, 0.0, 0.0), torch.zeros(2, 6)]
    assert_close(found, torch.stack(expected, 1))
    assert_close(beside(clip({0: 1.0}))[:, 4, 3:], torch.tensor([[1.0, far, 0.0]] * 2))


def test_beside_a_token_of_an_edited_clip_is_that_of_the_source_which_is_the_last_reference():
    state = clip(references=8)
    assert_close(beside(state)[..., :3], state.reference_BRC[:, 2:])
    assert_close(beside(state)[..., 3:], torch.tensor([0.0, 0.0, 1.0]).expand(2, 6, 3))
    assert not beside(clip(references=2)).any()
    kept = beside(clip({5: 1.0}, references=8))
    assert_close(kept[:, 5, :3], state.given_BNC[:, 5])  # what is given of it, rather


def test_a_sound_has_something_beside_itself_too():
    shape = AudioShape(samples=900, sample_rate=16_000, tokens=4, latent_channels=3)
    state = audio_state(shape, 3, 2)
    assert not beside(state).any()
    state = replace(state, reference_BRC=draw(2, 4, 3, seed=1), reference_positions_RP=state.positions_NP - 3.0)
    assert_close(beside(state)[..., :3], state.reference_BRC)


@torch.no_grad()
def test_a_sketch_sees_what_is_given_beside_each_token(sketch):
    torch.nn.init.normal_(sketch.enter_beside.weight)
    told, text = draw(2, 6, 6, seed=2), context()
    changed = lambda one, other: (one.mean_BNC != other.mean_BNC).any(-1)  # noqa: E731
    blind, nothing = sketch(told, text), sketch(told, text, beside(clip()))
    assert not changed(blind, nothing).any()
    assert changed(sketch(told, text, beside(clip({1: 1.0}))), blind).tolist() == [[False, True] * 3] * 2
