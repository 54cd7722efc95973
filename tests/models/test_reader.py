"""The reader of layouts. Legend: see models/reader.py."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import CLASSES, MOUTH, RADIUS, THERE, TOUCH, X, Y, layout_numbers, sounding
from openreels.models.reader import CHIN, LayoutReader
from openreels.types import VideoShape

SORTS = (3, 2)
SHAPE = VideoShape(9, 32, 48, Fraction(16), 3, 2, 3, 4)


@pytest.fixture
def reader() -> LayoutReader:
    torch.manual_seed(0)
    return LayoutReader(4, 3, SORTS, frames=5, width=8, num_heads=2, num_layers=1).eval()


def latents(batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, SHAPE.tokens, 4, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_it_goes_by_every_token_and_where_that_is(reader):
    seen = latents()
    found = reader(seen, SHAPE)
    assert found.shape == (2, 2, 3, layout_numbers(SORTS))
    assert_close(reader(seen[1:], SHAPE), found[1:])
    for token in (0, 7, 17):
        other = seen.clone()
        other[0, token] += 1.0
        assert not torch.allclose(reader(other, SHAPE)[0], found[0])
    places = seen.view(2, 3, 2, 3, 4)
    for axis in (1, 2, 3):  # frames, rows and columns have an order
        assert not torch.allclose(reader(places.flip(axis).flatten(1, 3), SHAPE), found)
    tall = replace(SHAPE, height=48, width=32, latent_height=3, latent_width=2)
    assert not torch.allclose(reader(seen, tall), found)


@torch.no_grad()
def test_where_something_is_is_looked_for_in_its_own_frame_and_the_next_ones(reader):
    """In one layer; by a second one, the tokens of subjects have told each other."""
    long = replace(SHAPE, frames=17, latent_frames=5)
    seen = torch.randn(1, long.tokens, 4, generator=torch.Generator().manual_seed(3))
    other = seen.clone()
    other[0, 3 * 6] += 5.0  # in frame 3
    changed = (reader(other, long) != reader(seen, long)).any(-1)
    assert changed[0].tolist() == [[False, False, True, True, True]] * 2
    torch.manual_seed(0)
    deep = LayoutReader(4, 3, SORTS, frames=5, width=8, num_heads=2, num_layers=2).eval()
    assert (deep(other, long) != deep(seen, long)).any(-1).all()


@torch.no_grad()
def test_layouts_are_as_long_as_the_clip(reader):
    still = replace(SHAPE, frames=1, latent_frames=1)
    assert reader(latents()[:, : still.tokens], still).shape == (2, 2, 1, layout_numbers(SORTS))
    long = replace(SHAPE, frames=21, latent_frames=6)
    with pytest.raises(ValueError, match="up to 5 latent frames, not 6"):
        reader(torch.zeros(1, long.tokens, 4), long)


def test_what_is_read_is_settled_and_stands_from_left_to_right(reader, monkeypatch):
    said = torch.full((1, 2, 3, layout_numbers(SORTS)), 0.3)
    said[0, 0, :, 0:4], said[0, 1, :, 0:4] = 0.2, -0.4
    said[..., THERE], said[..., RADIUS] = 0.8, -0.1
    said[..., CLASSES + 1], said[..., CLASSES + 4] = 0.4, 0.5
    monkeypatch.setattr(reader, "forward", lambda *_: reader.normalised(said))
    found = reader.read(latents(1), SHAPE)
    assert found[0, :, 0, 0].tolist() == pytest.approx([-0.4, 0.2])
    assert (found[..., THERE] == 1).all() and not found[..., RADIUS].any()
    assert found[0, 0, 0, CLASSES:].tolist() == [0, 1, 0, 0, 1]
    assert not found[..., TOUCH].any()  # a touch is too short to be read
    looked = reader.forward_mouths(latents(1), found, SHAPE).clamp(0.0, 1.0)
    assert_close(found[..., MOUTH], looked)


@torch.no_grad()
def test_mouths_are_looked_up_in_the_four_tokens_around_them(reader):
    """A face of half a token in the middle of the picture, one token lower, and one beyond its right border."""
    token = 0.5  # of the short side, 32 pixels; two rows and three columns of them
    layout = torch.zeros(1, 2, 3, layout_numbers(SORTS))
    layout[..., RADIUS] = 0.5 * token
    chin = CHIN * 0.5 * token
    layout[0, 0, :, Y], layout[0, 0, :, X] = 0.3 * token - chin, 0.2 * token
    layout[0, 1, :, Y], layout[0, 1, :, X] = 0.9 * token - chin, 3.0 * token
    seen = latents(1)
    found = reader.forward_mouths(seen, layout, SHAPE)
    assert found.shape == (1, 2, 3, 4)
    for place, frames in ((1, [0]), (2, [0]), (4, [0]), (5, [0]), (0, []), (3, [])):
        other = seen.clone()
        other[0, 6 + place] += 1.0  # of the second frame
        changed = (reader.forward_mouths(other, layout, SHAPE) != found).any(-1)[0]
        assert changed.nonzero().tolist() == [[subject, 1] for subject in frames]
    nearer = layout.clone()
    nearer[0, 0, :, X] += 0.1 * token
    assert (reader.forward_mouths(seen, nearer, SHAPE)[0, 0] != found[0, 0]).any()


@torch.no_grad()
def test_a_sound_is_heard_when_it_happens_and_tells_of_mouths_and_touches_alone(reader):
    """Of 17 frames, with two audio tokens for each: what changes about a token is heard about its moment."""
    sound = torch.randn(1, 34, 3, generator=torch.Generator().manual_seed(2))
    other = sound.clone()
    other[0, 20] += 5.0  # frame 10 of 0..16
    changed = (reader.forward_sound(other, 5) - reader.forward_sound(sound, 5)).abs()
    for part in (slice(0, 4), slice(4, 8)):
        by_frame = changed[0, :, part]
        assert by_frame[0].unique().numel() == 1  # a single frame, four times
        seen = by_frame[1:].flatten().nonzero().flatten() + 1
        assert seen.min() >= 10 - 3 and seen.max() <= 10 + 3 and 10 in seen
    reader.ears[-1].bias.data.fill_(1.5)
    heard = reader.hear(sound, 5)
    assert heard.shape == (1, 2, 5, layout_numbers(SORTS))
    assert heard[:, 0, :, MOUTH].any() and heard.max() <= 1.0 and (heard[:, 0, :, THERE] == 1).all()
    assert not heard[:, 1].any() and not heard[..., :8].any() and not heard[..., CLASSES:].any()
    with pytest.raises(ValueError, match="up to 5 latent frames, not 6"):
        reader.hear(sound, 6)


def test_what_can_be_heard_is_the_most_of_those_who_are_there():
    layout = torch.rand(1, 3, 4, layout_numbers(SORTS), generator=torch.Generator().manual_seed(3))
    layout[..., THERE] = torch.tensor([[1.0], [1.0], [0.0]])
    found = sounding(layout)
    for part in (MOUTH, TOUCH):
        assert_close(found[0, 0, :, part], torch.maximum(layout[0, 0, :, part], layout[0, 1, :, part]))
    assert not found[0, 1:].any()
