"""How the context enters: padding and absent sources are invisible; blocks without a bias, layers checkpointed."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.models.context import ContextSources, TextRefiner
from openreels.types import Context, HiddenStates

pytestmark = pytest.mark.usefixtures("one_thread")

GLYPH, IMAGE, POOLED = 6, 10, 7
ENTRANCES = {
    "text_refiner_layers": 1,
    "glyph_dim": GLYPH,
    "image_dim": IMAGE,
    "pooled_dim": POOLED,
    "guidance_embedding": True,
}


@pytest.fixture(scope="module")
def reader(tiny):
    """A tiny model with every entrance, each of effect."""
    return tiny.shake(tiny.transformer(**ENTRANCES)).requires_grad_(False)


@pytest.fixture
def context(tiny) -> Context:
    def states(width: int, seed: int) -> HiddenStates:
        return HiddenStates(tiny.noise(2, 3, width, seed=seed), torch.ones(2, 3, dtype=torch.bool))

    return replace(
        tiny.context(),
        glyph=states(GLYPH, 21),
        image=states(IMAGE, 22),
        pooled_BE=tiny.noise(2, POOLED, seed=23),
        guidance_B=torch.tensor([6.0, 3.0]),
    )


@pytest.mark.parametrize("source", ["glyph", "image", "pooled_BE", "guidance_B"])
def test_every_source_reaches_the_video_and_none_the_sound(tiny, reader, context, source):
    video, audio, apart = tiny.video(), tiny.audio(), torch.zeros(2)
    whole, without = (reader(video, audio, c, apart) for c in (context, replace(context, **{source: None})))
    assert (whole[0] - without[0]).abs().max() > 1e-3
    assert torch.equal(whole[1], without[1])


@pytest.mark.parametrize("source", ["glyph", "image"])
def test_a_masked_source_is_as_one_that_is_not_there(tiny, reader, context, source):
    states = getattr(context, source)
    masked = replace(context, **{source: HiddenStates(states.hidden_BLD, torch.zeros_like(states.mask_BL))})
    absent = replace(context, **{source: None})
    assert_close(reader(tiny.video(), None, masked)[0], reader(tiny.video(), None, absent)[0])


def test_padding_of_the_text_is_invisible_to_the_refiner(tiny):
    refiner = tiny.shake(TextRefiner(8, 16, 2, layers=2))
    hidden, time_B = tiny.noise(2, 5, 8), torch.tensor([0.2, 0.7])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    whole = refiner(HiddenStates(torch.where(mask[..., None], hidden, 99.0), mask), time_B)
    short = refiner(HiddenStates(hidden[1:, :3], mask[1:, :3]), time_B[1:])
    assert_close(whole[1:, :3], short)


def test_a_prompt_of_no_tokens_is_no_number_missing(tiny):
    refiner = tiny.shake(TextRefiner(8, 16, 2, layers=1))
    empty = HiddenStates(tiny.noise(1, 4, 8), torch.zeros(1, 4, dtype=torch.bool))
    assert refiner(empty, torch.tensor([0.5])).isfinite().all()


def test_sources_stand_before_the_text_in_one_order(tiny, context):
    sources = ContextSources(8, GLYPH, IMAGE)
    text = tiny.context()
    joined = sources(HiddenStates(tiny.noise(2, 5, 8), text.mask_BL), context)
    assert joined.hidden_BLD.shape == (2, 3 + 3 + 5, 8) and joined.mask_BL.shape == (2, 11)
    expected = sources.image(context.image.hidden_BLD) + sources.kind.weight[2]
    assert_close(joined.hidden_BLD[:, :3], expected)


def test_without_a_bias_blocks_are_as_with_one_of_zeros(tiny, shaken):
    """What a GPU gets where all of the text is real."""
    video, context = tiny.video(), tiny.context()
    inputs = shaken.video.inputs(video, (4, 6, 6), 256.0, context.mask_BL)
    plain = replace(inputs, text_bias=None)
    assert inputs.text_bias is not None and not inputs.text_bias.any()
    x, text = shaken.video.tokens(video), shaken.video.text(context, video.time_B).hidden_BLD
    for layer in shaken.layers:
        for out, expected in zip(layer.video.attend(x, text, plain), layer.video.attend(x, text, inputs), strict=True):
            assert_close(out, expected)


def test_checkpointing_changes_no_gradient_and_keeps_less(tiny, shaken):
    plain, saving = (copy.deepcopy(shaken).requires_grad_(True).train() for _ in range(2))
    saving.enable_gradient_checkpointing()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        saving(tiny.video(), tiny.audio(), tiny.context())
        held = sum(kept)
        kept.clear()
        plain(tiny.video(), tiny.audio(), tiny.context())
    assert held < sum(kept) / 2
    for model in (plain, saving):
        sum(v.square().mean() for v in model(tiny.video(), tiny.audio(), tiny.context())).backward()
    for (name, parameter), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name
