"""What a prompt asks for. Legend: see encoders/brief.py."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.encoders.brief import LAYERS, REACH, Brief
from openreels.encoders.text import TextEncoder, new_text_encoder, train_tokenizer
from openreels.types import Context

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = ["Put it in a city.", "雪地里的红球", "Now it is night, and the red ball is a blue star in the snow."]


@pytest.fixture
def brief() -> Brief:
    torch.manual_seed(0)
    return Brief(8, (3, 2)).eval()


@torch.no_grad()
def test_answers_are_likelihoods_of_every_question(brief):
    hidden_BLD, mask_BL = torch.randn(4, 6, 8), torch.ones(4, 6, dtype=torch.bool)
    told_BK = brief.told(hidden_BLD, mask_BL)
    assert told_BK.shape == (4, brief.numbers) == (4, 5)
    assert_close(told_BK[:, :3].sum(1), torch.ones(4))
    assert_close(told_BK[:, 3:].sum(1), torch.ones(4))
    assert (told_BK > 0).all()


def test_answers_are_found_by_the_name_of_their_question():
    brief = Brief(8, (3, 2), ("place", "night"))
    told_BK = torch.tensor([[0.2, 0.3, 0.5, 0.9, 0.1]])
    assert brief.said_of("night", told_BK).tolist() == told_BK[:, 3:].tolist()
    assert brief.said_of("place", told_BK).tolist() == told_BK[:, :3].tolist()
    assert brief.said_of("weather", told_BK) is None


@torch.no_grad()
def test_padding_says_nothing(brief):
    hidden_BLD = torch.randn(1, 6, 8)
    mask_BL = torch.tensor([[True] * 6 + [False] * 5])
    longer_BLD = torch.cat([hidden_BLD, torch.randn(1, 5, 8) * 100], dim=1)
    assert_close(brief.told(longer_BLD, mask_BL), brief.told(hidden_BLD, mask_BL[:, :6]))


@torch.no_grad()
def test_a_word_goes_by_those_around_it(brief):
    """The state that an answer is read from hears of words `REACH // 2` away in each layer, and of none further."""
    hidden_BLD, mask_BL = torch.randn(1, 30, 8), torch.ones(1, 30, dtype=torch.bool)
    changed_BLD = hidden_BLD.clone()
    changed_BLD[0, 0] = torch.randn(8)
    one, other = hidden_BLD, changed_BLD
    for layer in brief.layers:
        one, other = layer(one, mask_BL[..., None]), layer(other, mask_BL[..., None])
    heard = (one != other).any(-1)[0].nonzero().flatten()
    assert heard.max() == LAYERS * (REACH // 2)


def test_a_text_encoder_hands_over_what_is_asked_for(tmp_path):
    torch.manual_seed(0)
    encoder = new_text_encoder(train_tokenizer(PROMPTS, vocabulary=300), width=16, layers=1, heads=2)
    assert encoder.encode(PROMPTS).brief_BK is None
    with_brief = TextEncoder(encoder.tokenizer, encoder.model.eval(), brief=Brief(16, (3, 2)).eval())
    together = with_brief.encode(PROMPTS).brief_BK
    assert_close(together[:1], with_brief.encode(PROMPTS[:1]).brief_BK)
    with_brief.save_pretrained(tmp_path)
    assert_close(TextEncoder.from_pretrained(tmp_path).encode(PROMPTS).brief_BK, together)


def test_contexts_are_stacked_with_their_briefs():
    said = Context(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool), brief_BK=torch.tensor([[0.25, 0.75]]))
    unsaid = replace(said, brief_BK=None)
    both = Context.stack([said, unsaid])
    assert both.brief_BK.tolist() == [[0.25, 0.75], [0.0, 0.0]]
    assert both.rows(torch.tensor([0])).brief_BK.tolist() == [[0.25, 0.75]]
    assert both.to(torch.bfloat16).brief_BK.dtype is torch.float32
    assert Context.stack([unsaid, unsaid]).brief_BK is None
