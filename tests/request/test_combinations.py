"""What goes together in a request, and the one sentence where it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreels.pipelines.registry import POCKET, V3
from openreels.request import Request, RequestError, check

CAT, DOG = {"tag": "cat", "path": "cat.png"}, {"tag": "dog", "path": "dog.png"}
ANNA, VOICE = {"audio": "anna.wav"}, {"voice": "voice.wav"}
PLACE = {"region": [0.0, 0.0, 0.5, 1.0]}
EDIT, FIRST = {"video": "a.mp4", "use": "edit"}, {"path": "a.png", "at": "first"}


@pytest.mark.parametrize(
    ("fields", "task", "files"),
    [
        ({"modality": "image"}, "t2i", {}),
        ({"keyframes": [FIRST, {"path": "b.png", "at": 1.5}]}, "i2v", {"keyframe 1": "a.png", "keyframe 2": "b.png"}),
        ({"keyframes": [FIRST], "references": [CAT]}, "i2v", {"references @cat": "cat.png", "keyframe 1": "a.png"}),
        ({"references": [CAT], "modality": "image"}, "r2i", {"references @cat": "cat.png"}),
        ({"references": [CAT], "modality": "audio"}, "r2a", {"references @cat": "cat.png"}),
        ({"video": "a.mp4", "use": "extend"}, "v2v", {"video": "a.mp4"}),
        ({"video": "a.mp4", "references": [CAT]}, "rv2v", {"references @cat": "cat.png", "video": "a.mp4"}),
        (EDIT, "edit", {"video": "a.mp4"}),
        (
            EDIT | {"masks": [{"path": "m.png"}, {"box": [0, 0, 0.5, 1]}]},
            "inpaint",
            {"video": "a.mp4", "mask 1": "m.png"},
        ),
        (EDIT | {"span": [0.5, 1.0], "masks": [{"polygon": [[0, 0], [1, 0], [1, 1]]}]}, "retake", {"video": "a.mp4"}),
        (EDIT | {"audio": "a.wav"}, "edit", {"video": "a.mp4", "the audio": "a.wav"}),
        ({"video": "a.mp4", "use": "sound"}, "v2a", {"video": "a.mp4"}),
        ({"audio": "a.wav"}, "a2v-drive", {"the audio": "a.wav"}),
        (
            {"image": "p.png", "speakers": [ANNA | PLACE]},
            "a2v",
            {"image": "p.png", "the audio of speaker 1": "anna.wav"},
        ),
        (
            {"image": "p.png", "speakers": [VOICE]},
            "speakers",
            {"image": "p.png", "the voice of speaker 1": "voice.wav"},
        ),
        (
            {"references": [CAT], "speakers": [VOICE | {"tag": "cat"}]},
            "speakers",
            {"references @cat": "cat.png", "the voice of speaker 1": "voice.wav"},
        ),
    ],
)
def test_what_is_given_says_what_is_to_be_made(fields, task, files):
    request = Request.parse({"prompt": "x", **fields})
    assert request.task == task and request.files == files
    assert Request.parse(request.wishes()) == Request.from_json(request.to_json()) == request
    assert task in POCKET.tasks


@pytest.mark.parametrize(
    ("fields", "open_fields"),
    [
        ({}, {}),
        ({"keyframes": [FIRST]}, {"aspect"}),
        ({"video": "a.mp4"}, {"aspect"}),
        (EDIT, {"aspect", "duration"}),
        ({"video": "a.mp4", "use": "sound"}, {"aspect", "duration", "resolution"}),
        ({"audio": "a.wav"}, {"duration"}),
        ({"image": "p.png", "speakers": [ANNA]}, {"aspect", "duration"}),
        ({"image": "p.png", "speakers": [VOICE]}, {"aspect"}),
        ({"modality": "image"}, {"duration"}),
    ],
)
def test_what_is_given_decides_what_is_left_open(fields, open_fields):
    filled = Request.parse({"prompt": "x", **fields}).filled(POCKET)
    assert {name for name in ("aspect", "duration", "resolution") if getattr(filled, name) is None} == set(open_fields)
    assert Request.parse(filled.wishes()) == filled


MISTAKES = [
    ({"references": [CAT, CAT]}, "references must have different tags; two of them are @cat"),
    ({"keyframes": [FIRST, FIRST]}, "keyframes must have different times; two of them are at first"),
    ({"keyframes": [FIRST] * 9}, "keyframes must be up to 8 pictures"),
    ({"keyframes": [{"path": "a.png", "at": "middle"}]}, "each with a path and a time (seconds, first, last or auto)"),
    ({"masks": [{"box": [0, 0, 1, 1]}]}, "masks speaks of a video, and there is none; accepted with video"),
    ({"span": [0, 1]}, "span speaks of a video, and there is none; accepted with video"),
    ({"keep_audio": True}, "keep_audio speaks of a video, and there is none; accepted with video"),
    ({"use": "edit"}, "use speaks of a video, and there is none; accepted with video"),
    ({"use": "paint", "video": "a.mp4"}, "use must be one of extend, edit, sound, not 'paint'"),
    (
        {"video": "a.mp4", "masks": [{"box": [0, 0, 1, 1]}]},
        "masks speaks of an edit; accepted with use edit, not extend",
    ),
    ({"video": "a.mp4", "use": "sound", "span": [0, 1]}, "span speaks of an edit; accepted with use edit, not sound"),
    (EDIT | {"transition": "cut-in"}, "a transition leads on from a video to a new shot; accepted with use extend"),
    (EDIT | {"span": [1, 1]}, "span must be start, end in seconds with start < end, not 1, 1"),
    (EDIT | {"span": [1]}, "span must be two numbers of seconds from 0 to 200"),
    (EDIT | {"duration": 2.0}, "an edited video is as long as the video; duration must be left out, not 2 s"),
    (EDIT | {"keyframes": [FIRST]}, "keyframes and video are not used together; accepted is one of them"),
    (EDIT | {"masks": [{}]}, "a mask is a path, a box or a polygon, exactly one of them, not none"),
    (EDIT | {"masks": [{"path": "m.png", "box": [0, 0, 1, 1]}]}, "exactly one of them, not path and box"),
    (EDIT | {"masks": [{"box": [0.5, 0, 0.5, 1]}]}, "with left < right and top < bottom, not 0.5, 0, 0.5, 1"),
    (EDIT | {"masks": [{"box": [0, 0, 2, 1]}]}, "masks must be up to 16 masks"),
    (EDIT | {"masks": [{"polygon": [[0, 0], [1, 1]]}]}, "a polygon of at least three points"),
    (EDIT | {"audio": "a.wav", "keep_audio": True}, "audio and keep_audio are not used together"),
    (
        EDIT | {"keep_audio": True, "modality": "video"},
        "keep_audio speaks of sound, and a video without sound has none",
    ),
    ({"video": "a.mp4", "audio": "a.wav"}, "audio drives a new or an edited video; accepted with use edit"),
    (
        {"video": "a.mp4", "use": "sound", "aspect": "16:9"},
        "a soundtrack leaves the picture as it is; aspect must be left",
    ),
    (
        {"video": "a.mp4", "use": "sound", "references": [CAT]},
        "references must be left out, these are for new pictures",
    ),
    (
        {"video": "a.mp4", "use": "sound", "modality": "video"},
        "use sound makes the sound of a video; accepted modalities",
    ),
    ({"video": "a.mp4", "image": "p.png", "speakers": [ANNA]}, "image and video are not used together"),
    (
        {"audio": "a.wav", "modality": "audio"},
        "the sound is given, so a video is made; accepted modalities are video+audio",
    ),
    ({"audio": "a.wav", "sounds": ["music"]}, "sounds says which kinds of sound are made, and here the sound is given"),
    ({"sounds": ["music"], "modality": "video"}, "sounds speaks of sound, and a video without sound has none"),
    ({"sounds": ["noise"]}, "sounds must be one or more of speech, effects, music, not 'noise'"),
    ({"sounds": []}, "sounds must be one or more of speech, effects, music"),
    (
        {"keyframes": [FIRST], "modality": "audio"},
        "from keyframes a video is made; accepted modalities are video+audio",
    ),
    ({"modality": "image", "duration": 1.0}, "a single picture is made of a prompt and references; duration must be"),
    (
        {"modality": "image", "keyframes": [FIRST]},
        "a single picture is made of a prompt and references; keyframes must",
    ),
    ({"references": [{"tag": "cat"}]}, "references must be up to 9 pictures, clips and sounds, each with a path"),
    ({"references": [CAT | {"size": 3}]}, "'size' is no part of references; accepted is up to 9 pictures, clips and"),
    ({"audio": "a.wav", "speakers": [ANNA]}, "audio and speakers are not used together"),
    ({"speakers": [{}]}, "speaker 1 needs an audio (what they say) or a voice"),
    ({"speakers": [ANNA | VOICE]}, "speaker 1 has an audio and a voice; accepted is one of them"),
    ({"speakers": [ANNA, VOICE]}, "speaker 2 needs an audio, as the others have"),
    ({"speakers": [ANNA | PLACE]}, "speaker 1 has a place in a portrait, and there is none; accepted with image"),
    (
        {"speakers": [ANNA | {"tag": "dog"}], "references": [CAT]},
        "speaker 1 is @dog, which is no reference; given are @cat",
    ),
    (
        {"image": "p.png", "speakers": [ANNA | PLACE | {"mask": "m.png"}]},
        "speaker 1 needs a region or a mask, not both",
    ),
    (
        {"image": "p.png", "speakers": [ANNA | PLACE | {"tag": "cat"}], "references": [CAT]},
        "speaker 1 has a tag and a place in the portrait; accepted is one of them",
    ),
    (
        {"image": "p.png", "speakers": [ANNA | {"region": [0.5, 0.0, 0.5, 1.0]}]},
        "the region of speaker 1 must be left, top, right, bottom with left < right and top < bottom, not 0.5, 0, 0.5",
    ),
    ({"speakers": [VOICE], "modality": "video"}, "a voice speaks, and a video without sound has no sound"),
    ({"image": "p.png", "keyframes": [FIRST], "speakers": [ANNA]}, "image and keyframes are not used together"),
]


@pytest.mark.parametrize(("fields", "sentence"), MISTAKES)
def test_what_cannot_be_is_one_sentence(fields, sentence):
    with pytest.raises(RequestError) as caught:
        Request.parse({"prompt": "x", **fields})
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        EDIT,
        {"keyframes": [FIRST]},
        {"audio": "a.wav"},
        {"video": "a.mp4", "references": [CAT]},
        {"image": "p.png", "speakers": [VOICE]},
    ],
)
def test_v3_says_that_it_cannot(fields):
    request = Request.parse({"prompt": "x", **fields})
    for capabilities in V3.values():
        with pytest.raises(RequestError, match=f"not {request.task}.*; pocket can"):
            check(request, capabilities, "v3", {"pocket": POCKET})


@given(st.floats(0.25, 30))
def test_an_extension_has_a_range_of_its_own(seconds):
    check(Request(prompt="x", video="a.mp4", duration=seconds), POCKET)


def test_numbers_may_be_text():
    typed = Request.parse_strings(
        {
            "prompt": "x",
            "video": "a.mp4",
            "use": "edit",
            "span": ["0.5", "1"],
            "masks": [{"box": ["0", "0", "0.5", "1"], "invert": "true"}],
        }
    )
    assert typed.span == (0.5, 1.0) and typed.masks[0].box == (0, 0, 0.5, 1) and typed.masks[0].invert
    frame = Request.parse_strings({"prompt": "x", "keyframes": [{"path": "a.png", "at": "1.5"}]}).keyframes[0]
    assert frame.at == 1.5
