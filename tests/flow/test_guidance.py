"""Guidance: the formula, from separate calls of a real (tiny) transformer. Legend: see flow/guidance.py."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.guidance import Guidance
from openreels.models.layout import heard_numbers, seen_numbers

pytestmark = pytest.mark.usefixtures("one_thread")


class Counting:
    """The model, remembering how many samples each call had."""

    def __init__(self, model):
        self.model, self.batches = model, []

    def __call__(self, video, audio, context, tie):
        self.batches.append(context.hidden_BLD.shape[0])
        return self.model(video, audio, context, tie)


@pytest.fixture
def streams(tiny):
    return tiny.with_references(tiny.video()), tiny.audio()


@pytest.mark.parametrize(("text", "cross", "calls"), [(1, 1, 1), (4, 1, 2), (1, 2.5, 2), (4, 2.5, 3), (0, 0, 3)])
def test_guided_velocities_follow_the_formula(tiny, shaken, streams, text, cross, calls):
    """Prompt and negative prompt have different lengths; both scales apply to both streams."""
    prompt, negative = tiny.context(tokens=5), tiny.context(tokens=3, seed=9)
    model = Counting(shaken)
    guided = Guidance(text, cross)(model, *streams, prompt, negative)
    assert model.batches == [2 * calls]
    plain, unprompted = shaken(*streams, prompt), shaken(*streams, negative)
    apart = shaken(streams[0], None, prompt)[0], shaken(None, streams[1], prompt)[1]
    for stream in (0, 1):
        expected = plain[stream] + (text - 1) * (plain[stream] - unprompted[stream])
        expected += (cross - 1) * (plain[stream] - apart[stream])
        assert_close(guided[stream], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("index", [0, 1])
def test_a_single_stream_has_nothing_to_be_tied_to(tiny, shaken, streams, index):
    alone = [state if i == index else None for i, state in enumerate(streams)]
    model = Counting(shaken)
    guided = Guidance(1.0, 2.5)(model, *alone, tiny.context(), tiny.context(seed=9))
    assert model.batches == [2] and guided[1 - index] is None
    assert torch.equal(guided[index], shaken(*alone, tiny.context())[index])


def test_more_guidance_goes_further_the_same_way(tiny, shaken, streams):
    prompt, negative = tiny.context(), tiny.context(seed=9)
    v = [Guidance(scale, 1.0)(shaken, *streams, prompt, negative)[0] for scale in (1.0, 2.0, 3.0)]
    first, second = (b - a for a, b in pairwise(v))
    assert_close(first, second, atol=1e-4, rtol=1e-3)
    assert first.abs().max() > 1e-3


def test_a_layout_goes_with_the_prompt_and_not_with_the_negative_one(tiny):
    model = tiny.shake(tiny.transformer(layout_classes=(2, 3)))
    video, audio = tiny.video(), tiny.audio()
    told = tuple(
        replace(state, layout_BNK=torch.ones(2, state.tokens, count((2, 3)) + 1))
        for state, count in ((video, seen_numbers), (audio, heard_numbers))
    )
    prompt, negative = tiny.context(), tiny.context(seed=9)
    with torch.no_grad():
        guided = Guidance(3.0, 1.0)(model, *told, prompt, negative)
        with_layout, without = model(*told, prompt), model(video, audio, negative)
    for velocity, plain, unprompted in zip(guided, with_layout, without, strict=True):
        assert_close(velocity, plain + 2.0 * (plain - unprompted), atol=1e-4, rtol=1e-4)
