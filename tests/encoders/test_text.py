"""The pocket text encoder: any UTF-8 text, nothing unknown, padding without effect. Legend: see encoders/text.py."""

import unicodedata

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.encoders.text import MAX_TOKENS, PromptWarning, TextEncoder, new_text_encoder, train_tokenizer
from openreels.world import random_caption, sample_scene

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = ["A red ball bounces on the grass.", "", "红色的球在草地上弹跳", 'A STAR falls; a voice says: "oh" 🎈']


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    captions = [random_caption(sample_scene(seed, duration=2.0), seed) for seed in range(150)]
    torch.manual_seed(0)
    encoder = new_text_encoder(train_tokenizer(captions, vocabulary=500), width=32, layers=2, heads=2)
    encoder.model.eval()
    return encoder


def ids(encoder: TextEncoder, text: str) -> list[int]:
    return encoder.tokenizer(text).input_ids


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text())
@example("\0\x7f\u2028\ufeff")
@example("👩‍👩‍👧‍👦 한국어 العربية ไทย")
@example("<s> and <pad> are words too")
def test_any_text_survives_tokenisation(encoder, text):
    """After normalisation, every byte comes back, behind one <s> and one space."""
    tokens = ids(encoder, text)
    assert tokens[0] == encoder.tokenizer.bos_token_id and encoder.tokenizer.unk_token_id is None
    normal = encoder.tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    back = encoder.tokenizer.decode(tokens[1:], clean_up_tokenization_spaces=False)
    assert back.removeprefix(" ") == normal.removeprefix(" ")


@pytest.mark.parametrize("text", ["ÀÉÎ ΩЖ", "Cafe\u0301", "ａＢ １", "红色 BALL"])
def test_normalisation_is_composition_and_lower_case(encoder, text):
    expected = "".join(character.lower() for character in unicodedata.normalize("NFC", text))
    assert encoder.tokenizer.backend_tokenizer.normalizer.normalize_str(text) == expected


def test_case_and_composition_make_no_difference(encoder):
    assert ids(encoder, "A Café") == ids(encoder, "a cafe\u0301")


def test_all_256_bytes_are_in_the_vocabulary(encoder):
    assert len(ids(encoder, "".join(map(chr, range(0x400, 0x500))))) <= 1 + 1 + 2 * 256
    assert len(encoder.tokenizer) <= 500 and encoder.model.config.vocab_size == len(encoder.tokenizer)


def test_captions_of_the_world_take_few_tokens(encoder):
    caption = random_caption(sample_scene(10_001, duration=2.0), 5)
    assert len(ids(encoder, caption)) < 0.6 * len(caption.encode())


def test_an_empty_prompt_has_a_token(encoder):
    context = encoder.encode([""])
    assert context.hidden_BLD.shape == (1, 1, encoder.width) and context.mask_BL.tolist() == [[True]]


def test_prompts_beside_it_do_not_change_a_prompt(encoder):
    together = encoder.encode(PROMPTS)
    assert together.hidden_BLD.dtype == torch.float32 and together.mask_BL.dtype == torch.bool
    for row, prompt in enumerate(PROMPTS):
        alone = encoder.encode([prompt])
        length = alone.hidden_BLD.shape[1]
        assert together.mask_BL[row].tolist() == [True] * length + [False] * (together.mask_BL.shape[1] - length)
        assert_close(together.hidden_BLD[row, :length], alone.hidden_BLD[0], atol=1e-5, rtol=1e-4)


def test_order_and_words_matter(encoder):
    hidden = encoder.encode(["a red ball, a blue box", "a blue ball, a red box"]).hidden_BLD
    assert (hidden[0] - hidden[1]).abs().max() > 1e-3


def test_a_long_prompt_is_cut(encoder):
    with pytest.warns(PromptWarning):
        context = encoder.encode(["very " * 1000 + "red", "very " * 1000 + "blue"])
    assert context.hidden_BLD.shape[1] == MAX_TOKENS
    assert torch.equal(context.hidden_BLD[0], context.hidden_BLD[1])


def test_of_a_prompt_that_is_cut_the_rest_is_named(encoder, recwarn):
    encoder.encode(["a red ball"])
    assert not recwarn.list
    fits = next(n for n in range(MAX_TOKENS, 0, -1) if len(ids(encoder, "ball " * n)) <= MAX_TOKENS)
    with pytest.warns(PromptWarning, match=f"tokens and this model reads {MAX_TOKENS}: unread is '.*very end'"):
        encoder.encode(["ball " * fits + "and the very end"])


def test_saved_and_loaded_it_is_the_same(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    loaded = TextEncoder.from_pretrained(tmp_path)
    assert loaded.width == encoder.width == 32
    for prompt in PROMPTS:
        assert ids(loaded, prompt) == ids(encoder, prompt)
    before, after = encoder.encode(PROMPTS), loaded.encode(PROMPTS)
    assert torch.equal(before.hidden_BLD, after.hidden_BLD) and torch.equal(before.mask_BL, after.mask_BL)


def test_encode_builds_no_graph_and_a_call_does(encoder):
    assert not encoder.encode(["red"]).hidden_BLD.requires_grad
    assert encoder(["red"]).hidden_BLD.requires_grad


def test_names_of_references_are_told_by_kind_and_number(encoder):
    prompts = ["Put @image_2 on it, as in @video_1.", "在@image_12的地方，@cat and me@home_1 @image_x @Audio-0"]
    context = encoder.encode(prompts)
    tokens = encoder.tokenizer(prompts, padding=True).input_ids
    said = []
    for row, numbers in zip(tokens, context.named_BL.tolist(), strict=True):
        spans = {
            number: [t for t, own in zip(row, numbers, strict=True) if own == number] for number in {*numbers} - {0}
        }
        said.append({number: encoder.tokenizer.decode(span).strip() for number, span in spans.items()})
    assert said == [{2: "@image_2", -1: "@video_1"}, {12: "@image_12"}]
    assert encoder.encode(["A red ball."]).named_BL is None
