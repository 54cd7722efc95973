"""What is given of a clip, as a judge of layouts. Legend: see models/evidence.py."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.models.evidence import Evidence
from openreels.models.layout import THERE, heard_layout, layout_numbers, seen_layout

SORTS = (2, 3)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tiny):
    return tiny.shake(tiny.transformer(layout_classes=SORTS)).eval()


def layouts(tiny, batch: int, seed: int = 0) -> torch.Tensor:
    frames = tiny.VIDEO.latent_frames
    return torch.randn(batch, 2, frames, layout_numbers(SORTS), generator=torch.Generator().manual_seed(seed))


def kept(state, tokens: slice):
    mask = torch.zeros_like(state.mask_BN1)
    mask[:, tokens] = 1.0
    return replace(state, mask_BN1=mask)


@torch.no_grad()
def test_it_is_the_likelihood_of_the_given_tokens_under_the_sketch(tiny, model):
    state, text, layout = kept(tiny.video(), slice(2, 5)), tiny.context(), layouts(tiny, 2)
    found = Evidence(model, state, None, tiny.VIDEO, text)(layout)
    mean, variance = model.video.sketch(seen_layout(layout, tiny.VIDEO), text)
    normal = torch.distributions.Normal(mean, variance.sqrt())
    constant = 0.5 * torch.tensor(2 * torch.pi).log()
    expected = (normal.log_prob(state.given_BNC) + constant)[:, 2:5].sum((1, 2))
    assert_close(found, expected, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_what_is_given_whole_counts_everywhere_and_both_streams_count(tiny, model):
    text, layout = tiny.context(), layouts(tiny, 2)
    video, audio = (replace(state, time_B=torch.ones(2)) for state in (tiny.video(), tiny.audio()))
    free = [replace(state, time_B=torch.zeros(2)) for state in (tiny.video(), tiny.audio())]
    seen = Evidence(model, video, free[1], tiny.VIDEO, text)(layout)
    heard = Evidence(model, kept(free[0], slice(0, 0)), audio, tiny.VIDEO, text)(layout)
    mean, variance = model.audio.sketch(heard_layout(layout, audio.tokens), text)
    error = (mean - audio.noisy_BNC) ** 2 / variance + variance.log()
    assert_close(heard, -0.5 * error.sum((1, 2)), atol=1e-3, rtol=1e-4)
    both = Evidence(model, video, audio, tiny.VIDEO, text)(layout)
    assert_close(both, seen + heard, atol=1e-3, rtol=1e-4)


def test_nothing_given_is_no_evidence(tiny, model):
    nothing = kept(tiny.video(), slice(0, 0)), replace(tiny.audio(), time_B=torch.zeros(2))
    assert not Evidence(model, *nothing, tiny.VIDEO, tiny.context())
    assert Evidence(model, kept(tiny.video(), slice(0, 1)), None, tiny.VIDEO, tiny.context())


def test_several_layouts_of_a_clip_stand_side_by_side_and_gradients_reach_them(tiny, model):
    evidence = Evidence(model, kept(tiny.video(), slice(0, 4)), None, tiny.VIDEO, tiny.context())
    layout = layouts(tiny, 6)
    layout[..., THERE] = 1.0
    layout.requires_grad_()
    likely = evidence(layout)
    assert_close(likely[[1, 4]], evidence(layout[[1, 4]]))  # the second of the first clip, and of the second one
    likely.sum().backward()
    assert layout.grad.flatten(1).any(1).all()
