"""The planner of layouts. Legend: see models/planner.py."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import CLASSES, MOUTH, RADIUS, THERE, TOUCH, TURN, layout_numbers
from openreels.models.planner import SHOWN, LayoutPlanner
from openreels.types import Context

SORTS = (3, 2)


def context(batch: int = 2, tokens: int = 5) -> Context:
    torch.manual_seed(3)
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    mask[:, 3:] = False
    return Context(torch.randn(batch, tokens, 16), mask)


@pytest.fixture
def planner() -> LayoutPlanner:
    torch.manual_seed(0)
    return LayoutPlanner(16, SORTS, subjects=2, frames=5, width=8, num_heads=2, num_layers=1).eval()


@torch.no_grad()
def test_a_prediction_goes_by_everything(planner):
    torch.manual_seed(1)
    noisy, time = torch.randn(2, 2, 3, layout_numbers(SORTS)), torch.tensor([0.3, 0.3])
    text = context()
    found = planner(noisy, time, 1.0, text)
    assert found.shape == noisy.shape
    assert not torch.equal(planner(noisy, time + 0.3, 1.0, text), found)
    assert not torch.equal(planner(noisy, time, 2.0, text), found)
    longer = torch.nn.functional.pad(noisy, (0, 0, 0, 1))
    assert not torch.allclose(planner(longer, time, 1.0, text)[:, :, :3], found)
    changed = replace(text, hidden_BLD=text.hidden_BLD + torch.eye(16)[0])
    assert not torch.allclose(planner(noisy, time, 1.0, changed), found)
    padding = torch.cat([text.hidden_BLD[:, :3], text.hidden_BLD[:, 3:] + 1.0], dim=1)
    assert_close(planner(noisy, time, 1.0, replace(text, hidden_BLD=padding)), found)
    assert not torch.allclose(planner(noisy.flip(1), time, 1.0, text).flip(1), found)  # subjects have an order
    assert not torch.allclose(planner(noisy.flip(2), time, 1.0, text).flip(2), found)  # and frames
    with pytest.raises(ValueError, match="up to 5 latent frames, not 6"):
        planner(torch.randn(2, 2, 6, layout_numbers(SORTS)), time, 1.0, text)


@torch.no_grad()
def test_the_order_of_a_prompt_counts_once_it_is_learnt(planner):
    noisy, time = torch.randn(2, 2, 3, layout_numbers(SORTS)), torch.tensor([0.3, 0.3])
    text = context()
    turned = replace(text, hidden_BLD=torch.cat([text.hidden_BLD[:, :3].flip(1), text.hidden_BLD[:, 3:]], dim=1))
    assert_close(planner(noisy, time, 1.0, turned), planner(noisy, time, 1.0, text))
    torch.nn.init.normal_(planner.embed_place.weight)
    assert not torch.allclose(planner(noisy, time, 1.0, turned), planner(noisy, time, 1.0, text))


@torch.no_grad()
def test_several_layouts_of_one_prompt_do_not_see_each_other(planner):
    torch.manual_seed(1)
    noisy, time = torch.randn(4, 2, 3, layout_numbers(SORTS)), torch.tensor([0.1, 0.9, 0.4, 0.2])
    twice = context().rows(torch.tensor([0, 0, 1, 1]))
    assert_close(planner(noisy, time, 1.0, context()), planner(noisy, time, 1.0, twice))


def planned(planner, *seeds, steps: int = 4, **settings):
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    text = context(len(seeds))
    negative = replace(text, hidden_BLD=-text.hidden_BLD)
    return planner.plan(text, negative, 3, 1.5, draws, steps=steps, **settings)


@torch.no_grad()
def test_guidance_pushes_away_from_the_negative_prompt(planner, monkeypatch):
    """With a planner that says what it read, the plan lies beyond it by the scale."""
    said = lambda context: context.hidden_BLD[:, 0].sum(1)[:, None, None, None].clamp(-0.1, 0.1)  # noqa: E731
    monkeypatch.setattr(planner, "forward", lambda x, time, aspect, text, *_: torch.zeros_like(x) + said(text))
    places = [planned(planner, 0, guidance=scale)[..., 0] for scale in (1.0, 2.0)]
    assert_close(places[1], 3.0 * places[0])  # what the negative one says is just the opposite
    assert places[0].abs().min() > 1e-3


def test_a_plan_is_settled_and_a_matter_of_its_own_seed(planner):
    found = planned(planner, 1, 2)
    assert found.shape == (2, 2, 3, layout_numbers(SORTS))
    assert_close(planned(planner, 2, 2)[1], found[1])
    assert not torch.equal(found[0], found[1])
    assert set(found[..., THERE].unique().tolist()) <= {0.0, 1.0}
    assert (found[..., MOUTH].min() >= 0) and (found[..., TOUCH].max() <= 1) and (found[..., RADIUS] >= 0).all()
    cosine, sine = found[..., TURN].chunk(2, -1)
    assert_close(cosine**2 + sine**2, torch.ones_like(cosine))
    for sort in found[..., CLASSES:].split(SORTS, -1):
        assert torch.equal(sort.sum(-1), torch.ones(2, 2, 3)) and set(sort.unique().tolist()) == {0.0, 1.0}


@torch.no_grad()
def test_a_planner_that_knows_the_layout_plans_it(planner, monkeypatch):
    """Sampling goes where the prediction points, in the numbers' own units."""
    true = torch.zeros(1, 2, 3, layout_numbers(SORTS))
    true[:, 0, :, 0:8], true[:, 1, :, 0:8] = 0.2, -0.3
    true[..., TURN.start : TURN.start + 4] = 1.0
    true[:, 0, 1, TOUCH] = 1.0
    true[..., THERE], true[..., RADIUS] = 1.0, 0.1
    true[:, 0, :, CLASSES + 1], true[:, 1, :, CLASSES + 2], true[..., CLASSES + 3] = 1.0, 1.0, 1.0
    monkeypatch.setattr(planner, "forward", lambda *_: planner.normalised(true))
    assert_close(planned(planner, 0, steps=5), true, atol=1e-5, rtol=1e-5)


def test_of_several_candidates_the_likeliest_is_taken_and_all_are_drawn_to_it(planner):
    """Whoever is likeliest the further to the right the first subject begins."""
    right = lambda layout_BSFK: layout_BSFK[:, 0, 0, 0:4].sum(1)  # noqa: E731
    alone = planned(planner, 5)
    chosen = planned(planner, 5, evidence=right, candidates=6)
    assert chosen.shape == alone.shape
    assert right(chosen) > right(alone)
    flat = lambda layout_BSFK: 0.0 * right(layout_BSFK)  # noqa: E731
    assert_close(planned(planner, 5, evidence=flat, candidates=1), alone)
    pulled = planned(planner, 5, evidence=right, candidates=1)
    assert right(pulled) > right(alone) and right(chosen) >= right(pulled)


def shown_to(planner, count: int, frames: int = 3, seed: int = 4) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2, frames, layout_numbers(SORTS), generator=draws) for _ in range(count)]


@torch.no_grad()
def test_what_is_shown_counts_and_so_does_its_number(planner):
    noisy, time = torch.randn(2, 2, 3, layout_numbers(SORTS)), torch.tensor([0.3, 0.3])
    text, (one, other) = context(), shown_to(planner, 2)
    found = planner(noisy, time, 1.0, text, [one, other])
    assert not torch.allclose(found, planner(noisy, time, 1.0, text))
    assert not torch.allclose(found, planner(noisy, time, 1.0, text, [one]))
    assert not torch.allclose(found, planner(noisy, time, 1.0, text, [other, one]))
    still = [each[:, :, :1] for each in (one, other)]  # pictures are shorter than the clip that is planned
    assert planner(noisy, time, 1.0, text, still).shape == noisy.shape
    many = shown_to(planner, SHOWN + 2)
    swapped = [*many[:-2], many[-1], many[-2]]  # beyond those that are told apart
    assert_close(planner(noisy, time, 1.0, text, swapped), planner(noisy, time, 1.0, text, many))


@torch.no_grad()
def test_what_the_prompt_says_of_a_picture_goes_with_it(planner):
    torch.nn.init.normal_(planner.embed_said.weight)
    noisy, time = torch.randn(2, 2, 3, layout_numbers(SORTS)), torch.tensor([0.3, 0.3])
    pictures, clips = ([each[:, :, :frames] for each in shown_to(planner, 2)] for frames in (1, 3))
    named = lambda *names: replace(context(), named_BL=torch.tensor([names] * 2))  # noqa: E731
    found = lambda text, shown: planner(noisy, time, 1.0, text, shown)  # noqa: E731
    nobody = found(context(), pictures)
    first, second = found(named(1, 0, 0, 0, 0), pictures), found(named(2, 0, 0, 0, 0), pictures)
    assert not torch.allclose(first, nobody) and not torch.allclose(first, second)
    assert_close(found(named(3, -1, 0, 0, 0), pictures), nobody)  # names of nothing that is shown
    assert_close(found(named(1, 0, 0, 0, 0), clips), found(context(), clips))  # clips have names of their own
    assert not torch.allclose(found(named(-2, 0, 0, 0, 0), clips), found(context(), clips))


@torch.no_grad()
def test_what_is_read_is_related_once_that_is_learnt(planner):
    """A picture then matters in another way when another word stands beside it."""
    tokens, mask = torch.randn(2, 4, 8), torch.tensor([[True] * 4, [True, True, False, False]])
    assert_close(planner.relate(tokens, mask), tokens)
    torch.nn.init.normal_(planner.relate.attention.out_proj.weight)
    found, other = planner.relate(tokens, mask), tokens.clone()
    other[:, 3] += 1.0
    changed = (planner.relate(other, mask) != found).any(-1)
    assert changed.tolist() == [[True] * 4, [False, False, False, True]]  # nobody looks at padding


@torch.no_grad()
def test_several_layouts_of_one_prompt_see_what_is_shown_beside_it(planner):
    noisy, time = torch.randn(4, 2, 3, layout_numbers(SORTS)), torch.full((4,), 0.4)
    shown, twice = shown_to(planner, 2), torch.tensor([0, 0, 1, 1])
    found = planner(noisy, time, 1.0, context(), shown)
    assert_close(found, planner(noisy, time, 1.0, context().rows(twice), [each[twice] for each in shown]))


@torch.no_grad()
def test_what_is_followed_reaches_the_same_numbers_of_the_same_subjects(planner):
    noisy, time = torch.randn(4, 2, 3, layout_numbers(SORTS)), torch.full((4,), 0.4)
    shown = shown_to(planner, 2)
    found = planner(noisy, time, 1.0, context(), shown)
    assert_close(planner(noisy, time, 1.0, context(), shown, followed=1), found)  # until that is learnt
    torch.nn.init.eye_(planner.follow.weight)
    followed = planner(noisy, time, 1.0, context(), shown, followed=1)
    assert not torch.allclose(followed, found)
    both = planner(noisy, time, 1.0, context(), shown, followed=2)
    assert not torch.allclose(both, followed)
    # Following is as if the noisy tokens were moved by those of what is followed.
    moved = planner._tokens(planner.normalised(shown[1])).repeat_interleave(2, 0)
    tokens = planner._tokens
    planner._tokens = lambda x: tokens(x) + moved if x is noisy else tokens(x)
    assert_close(planner(noisy, time, 1.0, context(), shown), followed)


def test_plans_go_by_what_is_shown(planner):
    plans = [planned(planner, 1, 2, shown=shown_to(planner, 1, seed=seed)) for seed in (4, 4, 5)]
    assert_close(plans[0], plans[1])
    assert not torch.allclose(plans[0], plans[2])
