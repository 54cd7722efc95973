"""Where key frames stand, how a continuation is divided, and what the model is told."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.request import KeyFrame, RequestError
from openreels.tasks.extending import stretches
from openreels.tasks.keyframes import key_indices
from openreels.tasks.wording import (
    cut_sentence,
    followed,
    named_place,
    own_tags,
    renamed,
    sounds_sentence,
    voice_sentence,
    worded,
)

FPS = Fraction(16)


def at(*times) -> list[KeyFrame]:
    return [KeyFrame(path="x.png", at=time) for time in times]


@pytest.mark.parametrize(
    ("times", "indices"),
    [
        (["auto"], [0]),
        (["last"], [32]),
        (["auto", "auto"], [0, 32]),
        (["auto"] * 5, [0, 8, 16, 24, 32]),
        (["first", "auto", "auto", 1.5], [0, 8, 16, 24]),
        ([0.5, "auto", "last"], [8, 20, 32]),
        (["last", "first"], [32, 0]),
        ([1.0, "auto"], [16, 32]),
    ],
)
def test_key_frames_stand_where_they_should(times, indices):
    assert key_indices(at(*times), 33, FPS) == indices


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ([2.5], "a key frame is at 2.5 s, and the clip lasts 2.062 s; accepted are times up to 2 s"),
        (["first", 0.01], "keyframes 1 and 2 fall on the same frame, at 0 s"),
        ([2.0, "auto"], "keyframes 1 and 2 fall on the same frame, at 2 s"),
    ],
)
def test_key_frames_that_cannot_be(times, sentence):
    with pytest.raises(RequestError, match=sentence):
        key_indices(at(*times), 33, FPS)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(1, 500))
def test_a_continuation_is_exactly_as_long_as_asked(there, new):
    windows = stretches(there, new, usual=33, group=4)
    assert sum(made for _, made in windows) == new
    for given_, made in windows:
        assert given_ % 4 == 1 and given_ <= there and made > 0 and given_ + made <= 33
        there += made
    assert all(given_ >= min(there, 9) for given_, _ in windows[1:])


def test_continuations_of_the_world():
    assert stretches(13, 20, 33, 4) == [(13, 20)] and stretches(17, 16, 33, 4) == [(17, 16)]
    assert stretches(32, 32, 33, 4) == [(13, 20), (21, 12)]


def test_tags_by_kind_and_order():
    assert own_tags(["image", "video", "audio", "image"]) == ["image_1", "video_1", "Audio-0", "image_2"]
    assert own_tags(["video", "audio"], taken=["video"]) == ["video_2", "Audio-0"]


def test_a_prompt_in_the_models_tags():
    tags = {"cat": "image_1", "小红": "image_2"}
    assert (
        renamed("@cat sits, @小红在跑. <sfx> @cat </sfx>", tags) == "@image_1 sits, @image_2在跑. <sfx> @image_1 </sfx>"
    )
    with pytest.raises(RequestError, match=r"prompt, line 1, column 3: @dog is no reference; given are @cat"):
        renamed("A @dog", tags)
    assert worded("@cat says @voice", ["cat"]) == "@cat says voice"


def test_sentences_are_in_the_prompts_language():
    assert sounds_sentence("A ball", ("effects",)) == "Only the sound effects are heard."
    assert sounds_sentence("红球", ("speech", "effects")) == "没有音乐。"
    assert sounds_sentence("A ball", None) == sounds_sentence("A ball", ("speech", "effects", "music")) == ""
    assert followed("A ball", ["", ""]) == "A ball" and followed("A ball.", ["Yes."]) == "A ball. Yes."
    assert followed("红球", ["好。"]) == "红球。 好。"
    assert cut_sentence("a ball", "cut-in") == "Then the camera cuts in." and cut_sentence("a ball", "none") == ""
    assert "镜头" in cut_sentence("红色的球", "multi-angle")
    assert voice_sentence("hello", "@image_1", "Audio-0") == "@image_1 speaks in the voice of @Audio-0."
    assert voice_sentence("你好", named_place("你好", "left"), "Audio-1") == "左边的脸用@Audio-1的声音说话。"
