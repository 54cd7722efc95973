"""What prompts say of references. Legend: see models/mentions.py."""

from dataclasses import replace

import torch
from torch.testing import assert_close

from openreels.models.mentions import AROUND, SAID, Mentions, around_names
from openreels.types import Context


def context(*named: int, padding: int = 0) -> Context:
    """One prompt whose tokens name these references; the last ones are padding. The hidden state of a token is its
    place, twice."""
    place_L = torch.arange(len(named), dtype=torch.float32)
    mask_BL = (place_L < len(named) - padding)[None]
    return Context(place_L[None, :, None].expand(1, -1, 2).clone(), mask_BL, named_BL=torch.tensor([named]))


def test_around_a_name_are_the_tokens_before_and_behind_it():
    text = context(0, 0, 1, 1, 0, -2, -2, 0, 0, padding=1)
    found = around_names(text, [1, -2])
    assert found.shape == (1, 2, 4)
    mean = lambda *places: sum(places) / len(places)  # noqa: E731
    assert_close(found[0, 0], torch.tensor([mean(0, 1)] * 2 + [mean(4, 5, 6, 7)] * 2))
    assert_close(found[0, 1], torch.tensor([mean(0, 1, 2, 3, 4)] * 2 + [7.0] * 2))
    far = around_names(context(*[0] * 20, 3, *[0] * 20), [3])
    assert_close(far[0, 0], torch.tensor([mean(*range(20 - AROUND, 20))] * 2 + [mean(*range(21, 21 + AROUND))] * 2))


def test_of_several_mentions_the_first_one_counts():
    assert_close(around_names(context(0, 1, 0, 0, 1), [1]), around_names(context(0, 1, 0, 0, 0), [1]))
    assert_close(around_names(context(1, 1, 0), [1])[0, 0], torch.tensor([0.0, 0.0, 2.0, 2.0]))  # nothing is before it


def test_around_what_is_not_named_is_nothing():
    text = context(0, 0, 1, 0)
    assert not around_names(text, [2, 0, -1]).any()
    assert around_names(text, []).shape == (1, 0, 4)
    assert not around_names(replace(text, named_BL=None), [1]).any()


@torch.no_grad()
def test_mentions_say_nothing_of_what_is_not_named_and_go_by_the_words():
    torch.manual_seed(0)
    mentions = Mentions(2)
    text = context(5, 1, 0, 0)
    text = replace(text, hidden_BLD=torch.randn(1, 4, 2))
    said = mentions(text, [1, 2])
    assert said.shape == (1, 2, SAID)
    assert said[0, 0].any() and not said[0, 1].any()
    other = replace(text, hidden_BLD=text.hidden_BLD + torch.tensor([0.0, 1.0])[None, None])
    assert not torch.allclose(mentions(other, [1]), said[:, :1])
