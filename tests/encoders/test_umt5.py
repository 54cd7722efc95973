"""V3's text encoder. Its numbers against the official ones: tests/golden."""

import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from openreels.encoders.text import train_tokenizer
from openreels.encoders.umt5 import UMT5TextEncoder, clean_prompt

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder() -> UMT5TextEncoder:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red ball bounces", "a person is talking"], 300)
    config = UMT5Config(vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2)
    return UMT5TextEncoder(UMT5EncoderModel(config).eval(), tokenizer)


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  a red\n\n ball\t bounces ", "a red ball bounces"),
        ("fish &amp; chips", "fish & chips"),
        ("<i> &amp;amp;lt;b&gt;", "<i> &lt;b>"),  # two levels of entities, no more
        ("schÃ¶n", "schön"),  # mended encoding
        ("“a”　ﬁlm，fin", '"a" film,fin'),
        ("", ""),
    ],
)
def test_prompts_are_cleaned_as_officially(prompt, cleaned):
    assert clean_prompt(prompt) == cleaned


def test_always_512_tokens_with_zeros_after_the_prompt(encoder):
    hidden_BLD = encoder(["a red ball bounces", "a ball"])
    assert hidden_BLD.shape == (2, 512, 8)
    for hidden_LD, prompt in zip(hidden_BLD, ["a red ball bounces", "a ball"], strict=True):
        tokens = len(encoder.tokenizer(prompt).input_ids)
        assert bool(hidden_LD[:tokens].abs().sum(-1).all()) and not hidden_LD[tokens:].any()
    assert not hidden_BLD.requires_grad


def test_a_prompt_does_not_depend_on_its_neighbours(encoder):
    alone, beside = encoder(["a ball"])[0], encoder(["a person is talking", "a ball"])[1]
    torch.testing.assert_close(alone, beside, atol=1e-6, rtol=0)


def test_long_prompts_are_cut(encoder):
    hidden_BLD = encoder(["ball " * 2000])
    assert hidden_BLD.shape == (1, 512, 8) and bool(hidden_BLD[0, -1].any())
