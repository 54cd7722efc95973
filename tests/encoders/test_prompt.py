"""Prompts with media at their tags."""

from fractions import Fraction

import numpy as np
import pytest

from openreels.encoders.prompt import PromptParts
from openreels.media import Clip


def picture(value: int = 0) -> Clip:
    return Clip(np.full((1, 2, 2, 3), value, np.uint8), Fraction(1))


A, B = picture(1), picture(2)


@pytest.mark.parametrize(
    ("prompt", "media", "parts"),
    [
        ("a ball", {}, ("a ball",)),
        ("", {}, ()),
        ("@a runs", {"a": A}, ("@a", A, " runs")),
        ("@a", {"a": A}, ("@a", A)),
        ("@a and @b, then @a", {"a": A, "b": B}, ("@a", A, " and @b", B, ", then @a")),
        ("@image_10 @image_1", {"image_1": A, "image_10": B}, ("@image_10", B, " @image_1", A)),
        ("@Actor-0's hat", {"Actor-0": A}, ("@Actor-0", A, "'s hat")),
        ("@image_1在草地上", {"image_1": A}, ("@image_1", A, "在草地上")),
        ("in @公园 at night", {"公园": A}, ("in @公园", A, " at night")),
        ("write to me@home.org", {}, ("write to me@home.org",)),
        ("A hall. <dialogue>@a: Hi!</dialogue> @a", {"a": A}, ("A hall. <dialogue>@a", A, ": Hi!</dialogue> @a")),
    ],
)
def test_media_stand_behind_the_first_mention_of_their_tag(prompt, media, parts):
    made = PromptParts.of(prompt, media)
    assert made.parts == parts and made.text == prompt
    assert made.media == tuple(part for part in parts if isinstance(part, Clip))


@pytest.mark.parametrize(
    ("prompt", "media", "sentence"),
    [
        ("@cat runs", {}, "@cat is no reference; given are none"),
        ("@image_12 runs", {"image_1": A}, "@image_12 is no reference, did you mean @image_1"),
        ("@Actor-1 runs", {"Actor": A}, "@Actor-1 is no reference"),
        ("@a runs", {"a": A, "b": B, "c": B}, "does not mention @b, @c"),
    ],
)
def test_tags_and_media_must_match(prompt, media, sentence):
    with pytest.raises(ValueError, match=sentence):
        PromptParts.of(prompt, media)


def test_a_digest_tells_prompts_apart():
    sound = Clip(audio=np.zeros((1, 12), np.float32), sample_rate=16_000)
    prompts = [
        PromptParts(parts)
        for parts in (
            (),
            ("ab",),
            ("a", "b"),
            ("a", A),
            (A, "a"),
            ("a", B),
            (sound,),
            (Clip(audio=sound.audio, sample_rate=8_000),),
            (Clip(A.frames, Fraction(2)),),
            (Clip(np.full((1, 1, 4, 3), 1, np.uint8), Fraction(1)),),
        )
    ]
    assert len({prompt.digest() for prompt in prompts}) == len(prompts)
    assert PromptParts(("a", picture(1))).digest() == PromptParts(("a", A)).digest()
