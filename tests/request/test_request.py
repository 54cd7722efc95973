from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openreels.media.aspect import ASPECTS
from openreels.request import Aspect, Capabilities, Request, RequestError, check

POCKET = Capabilities(("t2av", "t2v", "t2a"), (1, 4), ("64p",), tuple(ASPECTS), Fraction(16), 16_000)
LARGE = Capabilities(("t2v",), (1, 30), ("64p", "720p"), ("16:9",), Fraction(24), 0)

REQUESTS = st.builds(
    Request,
    prompt=st.text(
        st.characters(exclude_characters="<@＜《〈＠", exclude_categories=["Cs"]), min_size=1, max_size=50
    ).filter(str.strip),
    duration=st.floats(0.01, 200),
    aspect=st.sampled_from(list(ASPECTS)),
    seed=st.integers(0, 2**63 - 1),
    steps=st.none() | st.integers(1, 1000),
    guidance=st.none() | st.floats(0, 30),
    modality=st.sampled_from(["video+audio", "video", "audio"]),
)


@given(REQUESTS)
def test_json_both_ways(request_):
    assert Request.from_json(request_.to_json()) == request_
    assert Request.parse(request_.model_dump(mode="json")) == request_


def test_text_is_enough():
    typed = Request(prompt="a ball", duration=1.5, seed=7, steps=8, guidance=3.5, modality="audio")
    texts = {"prompt": "a ball", "duration": "1.5", "seed": "7", "steps": "8", "guidance": "3.5", "modality": "audio"}
    assert Request.parse_strings(texts) == typed


def test_a_prompt_is_stripped_and_may_be_long():
    assert Request(prompt="  a ball \n").prompt == "a ball"
    assert len(Request(prompt="红" * 4_000).prompt) == 4_000


def test_a_prompt_obeys_the_grammar():
    with pytest.raises(RequestError, match=r"^prompt, line 1, column 8: <sfx> is never closed; accepted is </sfx>"):
        Request.parse({"prompt": "A ball <sfx> thud"})
    tagged = Request(prompt="@小红在跑", references=({"tag": "小红", "path": "x.png"},))
    assert tagged.tagged == {"小红": "x.png"}


def test_enhanced_where_asked():
    prompt = "A red rubber ball bounces on the grass"
    assert Request(prompt=prompt).filled(POCKET).prompt == prompt
    filled = Request(prompt=prompt, enhance=True).filled(POCKET)
    assert filled.prompt == f"{prompt}. <sfx> Dull rubber thuds and birds chirping. </sfx>"
    assert (filled.original, filled.enhance) == (prompt, False)
    assert filled.filled(POCKET) == Request.parse(filled.wishes()) == filled
    assert Request(prompt="Something", enhance=True).filled(POCKET).original is None


def test_a_model_without_structured_captions_enhances_nothing():
    check(Request(prompt="x", duration=2.0, modality="video"), LARGE)
    with pytest.raises(RequestError, match="this model accepts prompts as they are, not enhanced"):
        check(Request(prompt="x", duration=2.0, modality="video", enhance=True), LARGE)


def test_modality():
    both, silent, blind = (Request(prompt="x", modality=m) for m in ("video+audio", "video", "audio"))
    assert [(r.with_video, r.with_audio, r.task) for r in (both, silent, blind)] == [
        (True, True, "t2av"),
        (True, False, "t2v"),
        (False, True, "t2a"),
    ]


CAT = {"tag": "cat", "path": "cat.png"}
ANNA, BEN = {"audio": "anna.wav", "region": [0.0, 0.0, 0.5, 1.0]}, {"audio": "ben.wav", "mask": "ben.png"}


@pytest.mark.parametrize(
    ("fields", "task", "files"),
    [
        ({"references": [CAT]}, "r2v", ["cat.png"]),
        ({"video": "a.mp4"}, "v2v", ["a.mp4"]),
        ({"video": "a.mp4", "transition": "none"}, "v2v-shot", ["a.mp4"]),
        ({"image": "p.png", "speakers": [ANNA, BEN]}, "a2v", ["p.png", "anna.wav", "ben.wav", "ben.png"]),
    ],
)
def test_what_is_given_says_what_is_to_be_made(fields, task, files):
    request = Request.parse({"prompt": "x", **fields})
    assert request.task == task and list(request.files.values()) == files
    assert Request.parse(request.wishes()) == Request.from_json(request.to_json()) == request


def test_what_is_left_open_is_the_models_choice():
    model = Capabilities(("t2av",), (1, 9), ("64p", "96p"), ("1:1", "4:3"), Fraction(16), 16_000, 3.0, "96p", "4:3")
    filled = Request(prompt="x", aspect="1:1").filled(model)
    assert (filled.duration, filled.resolution, filled.aspect) == (3.0, "96p", "1:1")
    assert Request(prompt="x").filled(LARGE).aspect is None
    assert Request(prompt="x").wishes() == {"prompt": "x", "seed": 0, "modality": "video+audio"}


def test_aspects_are_those_that_have_a_size():
    assert get_args(Aspect) == tuple(ASPECTS)


def test_a_request_cannot_be_changed():
    with pytest.raises(ValidationError):
        Request(prompt="x").seed = 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "prompt is missing; accepted is text of 1 to 4,000 characters"),
        ({"prompt": " \n"}, "prompt must be text of 1 to 4,000 characters, not an empty text"),
        ({"prompt": "x" * 10_000}, "prompt must be text of 1 to 4,000 characters, not 10,000 characters"),
        ({"prompt": 5}, "prompt must be text of 1 to 4,000 characters, not 5"),
        ({"prompt": "broken \udc80"}, r"prompt must be text of 1 to 4,000 characters, not 'broken \udc80'"),
        ({"duration": 0}, "duration must be a number of seconds above 0 and up to 200, not 0"),
        ({"duration": 1000}, "duration must be a number of seconds above 0 and up to 200, not 1000"),
        ({"duration": float("nan")}, "duration must be a number of seconds above 0 and up to 200, not nan"),
        ({"duration": "2"}, "duration must be a number of seconds above 0 and up to 200, not '2'"),
        ({"seed": "text"}, "seed must be a whole number from 0 to 2^63 - 1, not 'text'"),
        ({"seed": 2**63}, "seed must be a whole number from 0 to 2^63 - 1, not 9223372036854775808"),
        ({"seed": 1.5}, "seed must be a whole number from 0 to 2^63 - 1, not 1.5"),
        ({"steps": 0}, "steps must be a whole number from 1 to 1,000, not 0"),
        ({"steps": True}, "steps must be a whole number from 1 to 1,000, not True"),
        ({"guidance": -1}, "guidance must be a number from 0 to 30, not -1"),
        ({"aspect": "2:1"}, "aspect must be one of 16:9, 4:3, 1:1, 3:4, 9:16, not '2:1'"),
        (
            {"resolution": "65p"},
            "resolution must be an even number of pixels of the short side, such as 64p or 720p, not '65p'",
        ),
        (
            {"colour": "red"},
            "'colour' is not a field of a request; accepted are prompt, negative, duration, resolution, aspect, seed, "
            "steps, guidance, shift, cache, fps, modality, references, keyframes, video, use, masks, span, keep_audio, "
            "transition, audio, image, speakers, sounds, enhance, original",
        ),
        ({"fps": 0.5}, "fps must be a number from 1 to 240, not 0.5"),
        (
            {"references": [{"tag": "a b", "path": "x.png"}]},
            "references must be up to 9 pictures, clips and sounds, each with a path and a tag of 1 to 40 letters, "
            "digits, underscores or hyphens, not 'a b'",
        ),
        (
            {"image": "x.png", "speakers": [{"audio": "x.wav", "region": [0.0, 0.0, 2.0, 1.0]}]},
            "speakers must be up to 8 people, each with the path of an audio or a voice, and a tag, a region of four "
            "numbers from 0 to 1 or a mask, not 2.0",
        ),
        (
            {"image": "x.png"},
            "a portrait (image) needs at least one speaker; accepted otherwise is a key frame at first",
        ),
        ({"transition": "cut-in"}, "a transition needs the video that it leads on from"),
        (
            {"video": "x.mp4", "modality": "audio"},
            "from video a video is made; accepted modalities are video+audio and video, not audio",
        ),
        (
            {"steps": 0, "guidance": 99},
            "steps must be a whole number from 1 to 1,000, not 0; guidance must be a number from 0 to 30, not 99",
        ),
    ],
)
def test_one_sentence_says_what_is_wrong(fields, sentence):
    fields = {"prompt": "x", **fields} if fields else {}
    with pytest.raises(RequestError) as caught:
        Request.parse(fields)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', b"\xff"])
def test_what_is_no_json_object(text):
    with pytest.raises(RequestError, match="a request must be a JSON object with the fields prompt"):
        Request.from_json(text)


@given(REQUESTS)
def test_a_check_refuses_exactly_what_a_model_lacks(request_):
    if 1 <= request_.duration <= 4:
        check(request_, POCKET)
    else:
        with pytest.raises(RequestError, match="durations of 1 to 4 s"):
            check(request_, POCKET)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"duration": 30.0}, "pocket accepts durations of 1 to 4 s, not 30 s; no installed model can"),
        (
            {"duration": 30.0, "modality": "video", "aspect": "16:9"},
            "pocket accepts durations of 1 to 4 s, not 30 s; large can",
        ),
        (
            {"resolution": "720p", "duration": 5.0, "modality": "video", "aspect": "16:9"},
            "pocket accepts durations of 1 to 4 s, not 5 s, and resolutions of 64p, not 720p; large can",
        ),
    ],
)
def test_a_refusal_names_the_models_which_can(fields, sentence):
    with pytest.raises(RequestError) as caught:
        check(Request(prompt="x", **fields), POCKET, "pocket", {"pocket": POCKET, "large": LARGE})
    assert str(caught.value) == sentence


def test_sound_alone_has_no_size():
    check(Request(prompt="rain", modality="audio", resolution="720p"), POCKET)
    with pytest.raises(RequestError, match="accepts the tasks t2v, not t2a"):
        check(Request(prompt="rain", modality="audio"), LARGE)
