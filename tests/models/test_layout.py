"""Layouts told to tokens, and the planner that makes them. Legend: see models/layout.py."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.models.layout import (
    CLASSES,
    MOUTH,
    NEARBY,
    RADIUS,
    THERE,
    TOUCH,
    TURN,
    LayoutEmbedding,
    LayoutPlanner,
    Waves,
    heard_layout,
    heard_numbers,
    layout_numbers,
    seen_layout,
    seen_numbers,
    shared_weights,
    waved_numbers,
)
from openreels.types import Context, VideoShape

SORTS = (3, 2)
SHAPE = VideoShape(9, 64, 64, Fraction(16), 3, 4, 4, 8)


def layout(*subjects: dict, frames: int = 3) -> torch.Tensor:
    """(1, S, F, K) of subjects with x, y (of all moments), radius, kind, mouth and touch (of single frames)."""
    out = torch.zeros(1, len(subjects), frames, layout_numbers(SORTS))
    for index, subject in enumerate(subjects):
        one = out[0, index]
        one[:, 0:4], one[:, 4:8] = subject["x"], subject["y"]
        one[:, RADIUS], one[:, THERE] = subject.get("radius", 0.1), subject.get("there", 1.0)
        one[:, CLASSES + subject.get("kind", 0)] = 1.0
        for name, columns in (("mouth", MOUTH), ("touch", TOUCH)):
            for frame, value in subject.get(name, {}).items():
                if frame == 0:
                    one[0, columns] = value
                else:
                    one[(frame + 3) // 4, columns.start + (frame - 1) % 4] = value
    return out


places = st.floats(-0.5, 0.5)


@settings(max_examples=50, deadline=None)
@given(places, places, st.sampled_from([(64, 64), (64, 128), (96, 64)]))
def test_every_token_is_told_the_way_to_the_subject(x, y, size):
    height, width = size
    shape = replace(SHAPE, height=height, width=width, latent_height=height // 16, latent_width=width // 16)
    told = seen_layout(layout({"x": x, "y": y}), shape).view(1, 3, height // 16, width // 16, -1)
    assert told.shape[-1] == seen_numbers(SORTS) + 1 and (told[..., -1] == 1).all()
    first = layout_numbers(SORTS)
    for row in range(height // 16):
        for column in range(width // 16):
            # Pixels of the subject's middle and of the token's, in tokens of 16 pixels.
            way_x = (width / 2 + 64 * x - 16 * (column + 0.5)) / 16
            way_y = (height / 2 + 64 * y - 16 * (row + 0.5)) / 16
            expected = torch.tensor([way_x, way_y]).clamp(-4.0, 4.0)
            assert_close(told[0, 0, row, column, [0, 4]], expected, atol=1e-4, rtol=1e-4)
            shares = [2 * 16 * (column + 0.5) / width - 1, 2 * 16 * (row + 0.5) / height - 1]
            place = [*shares, width / 64, height / 64, 1.0]
            assert_close(told[0, 0, row, column, first:-1], torch.tensor(place))
    assert not told[0, 1:, ..., -2].any()  # only the first frame is the first


def test_waves_are_of_ways_and_of_places_in_the_canvas():
    told = torch.randn(2, 3, seen_numbers(SORTS), generator=torch.Generator().manual_seed(0))
    waves = Waves(told.shape[-1], waved_numbers(SORTS), octaves=2)
    found = waves(told)
    assert found.shape[-1] == waves.out_features == told.shape[-1] + 2 * 2 * 10
    assert torch.equal(found[..., : told.shape[-1]], told)
    first = layout_numbers(SORTS)
    chosen = told[..., [0, 1, 2, 3, 4, 5, 6, 7, first, first + 1]]
    expected = [(torch.pi * chosen).sin(), (torch.pi * chosen).cos()]
    expected += [(2 * torch.pi * chosen).sin(), (2 * torch.pi * chosen).cos()]
    assert_close(found[..., told.shape[-1] :], torch.cat(expected, -1))
    assert Waves(5)(told[..., :5]).shape[-1] == 5


def test_the_nearest_edge_decides_who_a_token_is_told_of():
    small, large = {"x": -0.3, "y": 0.0, "radius": 0.05, "kind": 1}, {"x": 0.3, "y": 0.0, "radius": 0.3, "kind": 2}
    told = seen_layout(layout(small, large), SHAPE).view(3, 4, 4, -1)[0]
    assert told[1, :, CLASSES + 1].tolist() == [1, 0, 0, 0]
    assert told[1, :, CLASSES + 2].tolist() == [0, 1, 1, 1]


def test_nobody_is_told_of_whoever_is_not_there():
    absent = {"x": 0.0, "y": 0.0, "there": 0.0, "kind": 1, "touch": {2: 1.0}}
    alone = layout({"x": 0.2, "y": 0.1, "kind": 2})
    both = layout(absent, {"x": 0.2, "y": 0.1, "kind": 2})
    assert torch.equal(seen_layout(both, SHAPE), seen_layout(alone, SHAPE))
    events = slice(0, 2 * len(NEARBY))
    assert torch.equal(heard_layout(both, 9)[..., events], heard_layout(alone, 9)[..., events])
    assert not seen_layout(layout(absent), SHAPE)[..., : layout_numbers(SORTS)].any()
    assert not heard_layout(layout(absent), 9)[..., :-1].any()


def test_sound_is_told_of_touches_and_mouths_in_the_frames_around_it():
    one = {"x": 0.0, "y": 0.0, "kind": 1, "touch": {4: 1.0}}
    other = {"x": 0.3, "y": 0.0, "kind": 2, "mouth": {0: 0.25, 7: 0.5}}
    told = heard_layout(layout(one, other), 9)[0]
    assert told.shape == (9, heard_numbers(SORTS) + 1) and (told[:, -1] == 1).all()
    frames = len(NEARBY)
    events_AO2, classes_AK = told[:, : 2 * frames].unflatten(-1, (frames, 2)), told[:, 2 * frames : -1]
    for token in range(9):
        # Each hears the eight frames before it, its own, and two to come; of the one who has most to be heard there.
        near = [min(max(token + offset, 0), 8) for offset in range(-8, 3)]
        touches, mouths = near.count(4) * 1.0, near.count(0) * 0.25 + near.count(7) * 0.5
        louder = int(mouths > touches)
        expected = torch.zeros(frames, 2)
        if louder:
            expected[:, 0] = torch.tensor([{0: 0.25, 7: 0.5}.get(frame, 0.0) for frame in near])
        else:
            expected[:, 1] = torch.tensor([float(frame == 4) for frame in near])
        assert torch.equal(events_AO2[token], expected)
        assert classes_AK[token].tolist() == ([0, 0, 1, 0, 0] if louder else [0, 1, 0, 0, 0])


def test_other_numbers_of_audio_tokens_follow_the_clock():
    told = heard_layout(layout({"x": 0.0, "y": 0.0, "touch": {8: 1.0}}), 18)[0]
    own = 2 * NEARBY.index(0) + 1
    assert told[:, own].nonzero().flatten().tolist() == [16, 17]


def test_an_embedding_is_nothing_at_first_and_nothing_where_nobody_is_told():
    embed = LayoutEmbedding(layout_numbers(SORTS), 8, waved=range(8))
    told = torch.cat([torch.randn(2, 5, layout_numbers(SORTS)), torch.ones(2, 5, 1)], dim=-1)
    assert not embed(told).any()
    torch.nn.init.normal_(embed.mlp[-1].weight)
    torch.nn.init.normal_(embed.mlp[-1].bias)
    told[0, 2, :-1] = 0.0  # it is told that nobody is there
    told[1, :, -1] = 0.0
    assert embed(told)[0].all() and not embed(told)[1].any()


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
    monkeypatch.setattr(planner, "forward", lambda x, time, aspect, text: torch.zeros_like(x) + said(text))
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
    true = layout({"x": 0.2, "y": -0.1, "kind": 1, "touch": {3: 1.0}}, {"x": -0.3, "y": 0.3, "kind": 2})
    true[..., TURN.start : TURN.start + 4] = 1.0
    true[..., CLASSES + 3] = 1.0
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


def test_models_share_all_but_what_hears_of_layouts():
    ours, theirs = {"a.weight": (2, 3), "video.embed_layout.b": (4,)}, {"a.weight": [2, 3]}
    ours |= {"audio.sketch.c": (1,), "audio.embed_sketch.d": (1,), "video.trust_sketch.e": (1,)}
    assert shared_weights(theirs, ours) == shared_weights(ours, theirs) == ["a.weight"]
    with pytest.raises(ValueError, match=r"a\.weight is not the same"):
        shared_weights({"a.weight": (3, 2)}, ours)
    with pytest.raises(ValueError, match="c is not the same"):
        shared_weights({"a.weight": (2, 3), "c": (1,)}, ours)
