"""Lists of clips: what they may say, and what is told of mistakes."""

import json
import wave
from fractions import Fraction

import numpy as np
import pytest

from openreels.media import Clip
from openreels.training.sharded.listing import check_listed, listed_clips


@pytest.fixture
def clips(tmp_path):
    """a.mp4 of one second, b.png, c.wav."""
    frames, sound = np.zeros((16, 32, 32, 3), np.uint8), np.zeros((1, 16_000), np.float32)
    Clip(frames, Fraction(16), sound, 16_000).save(tmp_path / "a.mp4")
    Clip(frames[:1], Fraction(1)).save(tmp_path / "b.png")
    Clip(audio=sound, sample_rate=16_000).save(tmp_path / "c.wav")
    return tmp_path


def table(folder, *lines):
    path = folder / "table.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_a_folder_of_clips_and_captions(clips):
    for name in "abc":
        (clips / f"{name}.txt").write_text(f" {name} \n")
    found = listed_clips(clips)
    check_listed(found)
    assert [(clip.path.name, clip.caption) for clip in found] == [("a.mp4", "a"), ("b.png", "b"), ("c.wav", "c")]


def test_a_table_says_which_part_and_what_appears(clips):
    first, second = listed_clips(
        table(
            clips,
            {"path": "a.mp4", "caption": "x", "start": 0.25, "end": 1},
            "",
            {"path": "a.mp4", "caption": "@it", "references": {"it": "b.png"}},
        )
    )
    check_listed([first, second])
    assert (first.path, first.start, first.end) == (clips / "a.mp4", 0.25, 1)
    assert second.references == {"it": clips / "b.png"} and first.name != second.name


def test_names_do_not_depend_on_where_the_list_lies(clips, monkeypatch):
    path = table(clips, {"path": "a.mp4", "caption": "x"})
    names = [listed_clips(path)[0].name]
    monkeypatch.chdir(clips)
    names.append(listed_clips(path.relative_to(clips))[0].name)
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "table.jsonl, line 1 is no JSON"),
        ([1], "line 1 must be an object with path and caption"),
        ({"path": "a.mp4"}, "line 1 must be an object with path and caption"),
        ({"path": "a.mp4", "caption": "x", "begin": 1}, "and of start, end, references at most"),
        ({"path": 3, "caption": "x"}, "line 1: path must be the name of a file, not 3"),
        ({"path": "a.mp4", "caption": "x", "start": "1"}, 'start must be a number of seconds, not "1"'),
        ({"path": "a.mp4", "caption": "x", "references": {"a": 1}}, "references must be files by their tags, not 1"),
    ],
)
def test_lines_that_are_no_clip(clips, line, sentence):
    with pytest.raises(ValueError) as raised:
        listed_clips(table(clips, line))
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"path": "z.mp4", "caption": "x"}, "1 of 1 clips cannot be used: "),
        ({"path": "a.mp4", "caption": "x", "end": 3}, "from 0 to 3 s is no part of its 1 s"),
        ({"path": "a.mp4", "caption": "x", "start": 0.5, "end": 0.5}, "from 0.5 to 0.5 s is no part"),
        ({"path": "a.mp4", "caption": "the @cat"}, "its caption, line 1, column 5: @cat is no reference"),
        ({"path": "a.mp4", "caption": "@it", "references": {"it": "c.wav"}}, "c.wav must be a picture or a clip"),
    ],
)
def test_clips_that_cannot_be_used(clips, line, sentence):
    with pytest.raises(ValueError) as raised:
        check_listed(listed_clips(table(clips, line)))
    assert sentence in str(raised.value)


def test_a_file_too_long_to_be_decoded_is_named_whatever_part_of_it_is_wanted(clips):
    with wave.open(str(clips / "long.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000 * 21 * 60))
    with pytest.raises(ValueError, match=r"long\.wav lasts 1,260 s; accepted are up to 1,200 s"):
        check_listed(listed_clips(table(clips, {"path": "long.wav", "caption": "x", "end": 2})))


def test_references_that_a_text_encoder_is_shown_must_be_mentioned(clips):
    listed = listed_clips(table(clips, {"path": "a.mp4", "caption": "x", "references": {"it": "b.png"}}))
    check_listed(listed)
    with pytest.raises(ValueError, match=r"a\.mp4: its caption must mention @it, for the text encoder is shown"):
        check_listed(listed, shown=True)


def test_what_is_no_list(clips):
    with pytest.raises(ValueError, match=r"missing for a\.mp4, b\.png, c\.wav"):
        listed_clips(clips)
    with pytest.raises(ValueError, match="must be a folder or a table"):
        listed_clips(clips / "none.jsonl")
    (clips / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no clips"):
        listed_clips(clips / "empty")
