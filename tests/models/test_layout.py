"""Layouts, and how tokens are told of them. Legend: see models/layout.py."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.models.layout import (
    CLASSES,
    MOMENT,
    MOUTH,
    NEARBY,
    PLACE,
    RADIUS,
    THERE,
    TOUCH,
    LayoutEmbedding,
    Waves,
    X,
    amended,
    as_long,
    as_seen,
    cuts,
    heard_layout,
    heard_numbers,
    layout_numbers,
    left_to_right,
    moments,
    seen_layout,
    seen_numbers,
    shared_weights,
    sounding,
    turned_numbers,
    waved_numbers,
)
from openreels.types import VideoShape

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
            assert_close(told[0, 0, row, column, first : first + PLACE], torch.tensor(place))
    assert not told[0, 1:, ..., first + PLACE - 1].any()  # only the first frame is the first
    assert not told[..., first + PLACE : -1 - MOMENT].any()  # there is nobody else


def test_waves_are_of_ways_and_of_places_in_the_canvas():
    told = torch.randn(2, 3, seen_numbers(SORTS), generator=torch.Generator().manual_seed(0))
    waves = Waves(told.shape[-1], waved_numbers(SORTS), octaves=2)
    found = waves(told)
    assert found.shape[-1] == waves.out_features == told.shape[-1] + 2 * 2 * 19
    assert torch.equal(found[..., : told.shape[-1]], told)
    first = layout_numbers(SORTS)
    second = first + PLACE
    chosen = told[..., [*range(8), first, first + 1, *range(second, second + 8), second + layout_numbers(SORTS)]]
    expected = [(torch.pi * chosen).sin(), (torch.pi * chosen).cos()]
    expected += [(2 * torch.pi * chosen).sin(), (2 * torch.pi * chosen).cos()]
    assert_close(found[..., told.shape[-1] :], torch.cat(expected, -1))
    assert Waves(5)(told[..., :5]).shape[-1] == 5


def test_turns_are_told_several_times_over():
    """A star that is turned by a fifth looks the same: so do cosine and sine of five times its turn."""
    angle = torch.tensor([0.3, 1.0, -2.0, 0.3 + 2 * torch.pi / 5])
    told = torch.zeros(1, 4, seen_numbers(SORTS))
    turned = turned_numbers(SORTS)
    told[..., turned[:4]], told[..., turned[4:8]] = angle.cos()[:, None], angle.sin()[:, None]
    waves = Waves(told.shape[-1], turned=turned, harmonics=6)
    found = waves(told)
    assert found.shape[-1] == waves.out_features == told.shape[-1] + 5 * len(turned)
    for again, part in zip(range(2, 7), found[0, :, told.shape[-1] :].split(len(turned), -1), strict=True):
        cosine, no_cosine, sine, no_sine = part.split(4, -1)
        assert_close(cosine, (again * angle).cos()[:, None].expand(-1, 4))
        assert_close(sine, (again * angle).sin()[:, None].expand(-1, 4))
        assert not no_cosine.any() and not no_sine.any()  # of the second subject, who is not there


def test_the_nearest_edge_decides_who_a_token_is_told_of():
    small, large = {"x": -0.3, "y": 0.0, "radius": 0.05, "kind": 1}, {"x": 0.3, "y": 0.0, "radius": 0.3, "kind": 2}
    told = seen_layout(layout(small, large), SHAPE).view(3, 4, 4, -1)[0]
    assert told[1, :, CLASSES + 1].tolist() == [1, 0, 0, 0]
    assert told[1, :, CLASSES + 2].tolist() == [0, 1, 1, 1]
    second = layout_numbers(SORTS) + PLACE  # where the next one's numbers begin
    assert told[1, :, second + CLASSES + 1].tolist() == [0, 1, 1, 1]
    assert told[1, :, second + CLASSES + 2].tolist() == [1, 0, 0, 0]
    assert_close(told[1, 0, second : second + 1], torch.tensor([0.3 + 0.375]) * 4)


def test_clips_as_long_as_the_plan_are_told_from_pictures_and_others():
    still, short, whole = (torch.zeros(1, 2, frames, 4) for frames in (1, 3, 9))
    assert as_long([still, whole], 9) == 1 and as_long([whole, still, whole, whole], 9) == 2
    assert as_long([whole, short], 9) == 0 and as_long([], 9) == 0
    assert as_long([still, still], 1) == 0  # a still is nothing that happens


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


def test_models_share_all_but_what_hears_of_layouts():
    ours, theirs = {"a.weight": (2, 3), "video.embed_layout.b": (4,)}, {"a.weight": [2, 3]}
    ours |= {"audio.sketch.c": (1,), "audio.embed_sketch.d": (1,), "video.trust_sketch.e": (1,)}
    assert shared_weights(theirs, ours) == shared_weights(ours, theirs) == ["a.weight"]
    with pytest.raises(ValueError, match=r"a\.weight is not the same"):
        shared_weights({"a.weight": (3, 2)}, ours)
    with pytest.raises(ValueError, match="c is not the same"):
        shared_weights({"a.weight": (2, 3), "c": (1,)}, ours)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(places, st.booleans(), st.integers(0, 2)), min_size=1, max_size=4))
def test_subjects_are_ordered_by_where_they_are_first_seen(subjects):
    """x, whether somebody is there at all, and from which latent frame on; before that at a misleading place."""
    told = layout(*({"x": x, "y": 0.0, "kind": index % 3} for index, (x, *_) in enumerate(subjects)))
    for index, (_, is_there, first) in enumerate(subjects):
        told[0, index, :first, 0:4] = -9.0
        told[0, index, :first, THERE] = 0.0
        told[0, index, :, THERE] *= is_there
    found = left_to_right(told)
    present = sorted((x for x, is_there, _ in subjects if is_there))
    assert found[0, : len(present), -1, 0].tolist() == pytest.approx(present)
    assert not found[0, len(present) :, :, THERE].any()
    assert_close(found.sum(1), told.sum(1))


# --- plans of what was seen ------------------------------------------------------------------------------------------


def test_a_subject_planned_where_one_was_seen_goes_exactly_there_and_remains_who_it_is():
    planned = layout({"x": 0.22, "y": 0.0, "kind": 1}, {"x": -0.3, "y": 0.02, "kind": 2})
    seen = layout({"x": -0.28, "y": 0.0, "radius": 0.2, "mouth": {1: 0.7}}, {"x": 0.2, "y": 0.01, "touch": {2: 1.0}})
    found = as_seen(planned, seen)
    geometry = slice(0, TOUCH.start)
    assert torch.equal(found[..., TOUCH], planned[..., TOUCH])  # which is not read
    assert torch.equal(found[0, 0, :, geometry], seen[0, 1, :, geometry])
    assert torch.equal(found[0, 1, :, geometry], seen[0, 0, :, geometry])
    assert found[0, :, 0, RADIUS].tolist() == pytest.approx([0.1, 0.2])
    assert torch.equal(found[..., CLASSES:], planned[..., CLASSES:])


def test_a_subject_that_goes_another_way_is_left_to_the_planner():
    planned, seen = layout({"x": 0.2, "y": 0.0}), layout({"x": 0.2, "y": 0.0, "radius": 0.2})
    planned[0, 0, 2, 0:4] = 0.65  # in the last frame of three; on average 0.15 away
    assert torch.equal(as_seen(planned, seen), planned)


def test_only_frames_in_which_it_was_seen_are_exact_and_what_was_heard_is_no_place():
    planned, seen = layout({"x": 0.02, "y": 0.0}), layout({"x": 0.0, "y": 0.0})
    seen[0, 0, 1:] = 0.0
    found = as_seen(planned, seen)
    assert found[0, 0, :, 0].tolist() == pytest.approx([0.0, 0.02, 0.02])
    nobody = torch.zeros_like(seen)
    assert torch.equal(as_seen(planned, nobody), planned)
    assert torch.equal(as_seen(planned, sounding(seen)), planned)


def test_cuts_are_where_somebody_leaps_changes_or_is_suddenly_there():
    still = layout({"x": 0.1, "y": 0.0, "radius": 0.1}, frames=4)
    assert not cuts(still).any()
    for part, change in ((X, 0.4), (slice(RADIUS, RADIUS + 1), 0.1)):
        other = still.clone()
        other[:, 0, 2:, part] += change
        assert cuts(other).tolist() == [[False, False, True, False]]
    gone = still.clone()
    gone[:, 0, 2:, THERE] = 0.0
    assert cuts(gone).tolist() == [[False, False, True, False]]
    aside = gone.clone()
    aside[..., X] = 0.45  # whoever leaves by the edge was not cut away
    assert not cuts(aside).any()
    recast = still.clone()
    recast[:, 0, 3, CLASSES:] = recast[:, 0, 3, CLASSES:].roll(1, -1)
    assert cuts(recast).tolist() == [[False, False, False, True]]


def test_every_token_is_told_when_it_is():
    cut = layout({"x": 0.1, "y": 0.0, "radius": 0.1}, frames=3)
    cut[:, 0, 2:, X] += 0.4
    when_FK = moments(cut)[0]
    assert when_FK.tolist() == [[-1.0, 0.0, 0.0, 1.0], [0.0, 0.125, 0.0, 1.0], [1.0, 0.25, 1.0, 0.0]]
    assert moments(cut[:, :, :1])[0].tolist() == [[-1.0, 0.0, 0.0, 0.0]]
    shape = VideoShape(9, 32, 32, Fraction(16), 3, 2, 2, 4)
    told_BNK = seen_layout(cut, shape)
    assert torch.equal(told_BNK[0, :, -1 - MOMENT : -1], when_FK.repeat_interleave(4, 0))


def said(*likely: float) -> torch.Tensor:
    """How likely nobody and every class are, of one prompt."""
    return torch.tensor([likely])


def test_whom_an_instruction_means_changes_and_everybody_else_stays():
    """Seen are a subject of kind 0 on the left and one of kind 2 on the right, both of colour 0."""
    seen = layout({"x": -0.3, "y": 0.1}, {"x": 0.3, "y": 0.2, "kind": 2})
    seen[..., CLASSES + SORTS[0]] = 1.0
    plan = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0))
    right = [said(0.05, 0.05, 0.0, 0.9), said(0.1, 0.9, 0.0)]
    nobody, other = said(1.0, 0.0, 0.0, 0.0), [said(0.0, 0.0, 1.0, 0.0), said(0.0, 0.0, 1.0)]
    gone = amended(plan, seen, right, [nobody, said(1.0, 0.0, 0.0)])
    untouched = [*range(TOUCH.start), *range(TOUCH.stop, seen.shape[-1])]
    assert torch.equal(gone[:, 0][..., untouched], seen[:, 0][..., untouched]) and not gone[:, 1].any()
    changed = amended(plan, seen, right, other)
    assert torch.equal(changed[:, 1, :, : TOUCH.start], seen[:, 1, :, : TOUCH.start])
    assert changed[0, 1, :, CLASSES:].tolist() == [[0.0, 1.0, 0.0, 0.0, 1.0]] * 3
    assert torch.equal(changed[:, 0][..., untouched], seen[:, 0][..., untouched])


def test_a_plan_stays_where_nobody_or_several_could_be_meant():
    seen = layout({"x": -0.3, "y": 0.1}, {"x": 0.3, "y": 0.2})
    seen[..., CLASSES + SORTS[0]] = 1.0  # two alike
    plan = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0))
    new = [said(0.0, 0.0, 1.0, 0.0), said(0.0, 0.0, 1.0)]
    for kind, colour in (((0.0, 1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
                         ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0))):  # fmt: skip
        assert torch.equal(amended(plan, seen, [said(*kind), said(*colour)], new), plan)
