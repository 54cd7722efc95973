"""The verbs of all tasks on the tiny model: what reaches the file, and what is refused before a model loads."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from openreels.cli.making import request_of
from openreels.cli.parts import keyframe_of, mask_of, masks_of, reference_of, span_of, tagged_speaker_of
from openreels.media import Clip
from openreels.media.recipe import Recipe
from openreels.request import RequestError

FPS = Fraction(16)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with clip.mp4 (2 s), short.mp4 (0.5 s), cat.png, mask.png, voice.wav."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 190, (32, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    tone = (0.3 * np.sin(np.arange(32_000) / 10)).astype(np.float32)[None]
    Clip(frames, FPS, tone, 16_000).save(folder / "clip.mp4")
    Clip(frames[:8], FPS).save(folder / "short.mp4")
    Clip(frames[:1], Fraction(1)).save(folder / "cat.png")
    Clip(audio=tone, sample_rate=16_000).save(folder / "voice.wav")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 8:40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder


@pytest.fixture
def files(openreels, given) -> None:
    """These files in the folder in which the command line runs."""
    copytree(given, Path(), dirs_exist_ok=True)


def request_in(path: str) -> dict:
    return Recipe.from_metadata(Clip.open(path).metadata).request


# -- what reaches the request -----------------------------------------------------------------------------------------


def test_generate_with_everything_seen(pocket, openreels, files):
    arguments = (
        "--first-frame cat.png --keyframe cat.png@0.75 --keyframe cat.png --last-frame cat.png --ref @cat=cat.png"
    )
    outcome = openreels("generate", "A @cat talks", "-o", "a.mp4", *arguments.split(), "--sounds", "speech,music")
    assert (outcome.code, outcome.err) == (0, "")
    request = request_in("a.mp4")
    assert [keyframe["at"] for keyframe in request["keyframes"]] == ["first", 0.75, "auto", "last"]
    assert request["references"] == [{"tag": "cat", "path": str(Path("cat.png").absolute())}]
    assert request["sounds"] == ["speech", "music"]
    clip, still = Clip.open("a.mp4"), Clip.open("cat.png").frames[0].astype(int)
    for index in (0, 12, 31):  # the shown picture, but for what H.264 loses
        assert np.abs(clip.frames[index] - still).mean() < 6


def test_a_first_frame_with_speakers_is_their_portrait(pocket, openreels, files):
    speakers = ("--speaker", "voice.wav@0,0,0.5,1", "--speaker", "voice.wav@mask.png")
    outcome = openreels("generate", "Two talk", "-o", "a.mp4", "--first-frame", "cat.png", *speakers)
    assert (outcome.code, outcome.err) == (0, "")
    request = request_in("a.mp4")
    assert request["image"].endswith("cat.png")
    assert "keyframes" not in request
    assert request["speakers"][0]["region"] == [0, 0, 0.5, 1]
    assert request["speakers"][1]["mask"].endswith("mask.png")


def test_an_edit_keeps_what_the_mask_keeps(pocket, openreels, files):
    flags = ("--mask", "mask.png", "--mask", "0.9,0.9,1,1", "--keep-audio", "--ref", "cat=cat.png")
    outcome = openreels("edit", "clip.mp4", "Put @cat of @video_1 in the mask", "-o", "a.mp4", *flags)
    assert (outcome.code, outcome.err) == (0, "")
    request = request_in("a.mp4")
    assert request["use"] == "edit"
    assert request["masks"][0]["path"].endswith("mask.png")
    assert request["masks"][1]["box"] == [0.9, 0.9, 1, 1]
    source, edited = Clip.open("clip.mp4"), Clip.open("a.mp4")
    difference_HW = np.abs(edited.frames.astype(int) - source.frames).mean((0, 3))
    assert difference_HW[:12].mean() < 4 < difference_HW[20:44, 12:36].mean()
    assert edited.audio.shape == source.audio.shape
    assert np.corrcoef(edited.audio[0], source.audio[0])[0, 1] > 0.99


def test_a_retake_replays_to_the_same_file(pocket, openreels, files):
    assert openreels("edit", "clip.mp4", "It jumps", "-o", "a.mp4", "--span", "0.5-1.25").code == 0
    assert request_in("a.mp4")["span"] == [0.5, 1.25]
    assert openreels("replay", "a.mp4", "-o", "b.mp4").code == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_soundtrack(pocket, openreels, files):
    assert openreels("soundtrack", "clip.mp4", "A ball bounces", "-o", "a.mp4", "--sounds", "effects").code == 0
    assert np.abs(Clip.open("a.mp4").frames.astype(int) - Clip.open("clip.mp4").frames).mean() < 4
    assert openreels("soundtrack", "clip.mp4", "A ball bounces", "-o", "a.wav", "--audio-only").code == 0
    assert Clip.open("a.wav").duration == 2


def test_pocket_extends_and_talks(pocket, openreels, files):
    assert openreels("extend", "clip.mp4", "It goes on", "-o", "a.mp4", "--duration", "0.5").code == 0
    assert Clip.open("a.mp4").duration == 2.5
    outcome = openreels("extend", "clip.mp4", "It goes on", "-o", "b.mp4", "--duration", "0.5", "--transition", "auto")
    assert outcome.err.startswith("openreels: transition ")
    assert openreels("avatar", "cat.png", "voice.wav", "A cat talks", "-o", "c.mp4").code == 0
    assert np.corrcoef(Clip.open("c.mp4").audio[0], Clip.open("voice.wav").audio[0])[0, 1] > 0.99


def test_a_picture(pocket, openreels, files):
    assert openreels("generate", "A cat", "-o", "a.png", "--seed", "1").code == 0
    assert Clip.open("a.png").is_still
    assert openreels("replay", "a.png", "-o", "b.png").code == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_film_goes_on_after_an_interruption(pocket, openreels, files, monkeypatch):
    from openreels.pipelines.reel import Reel

    film = ("generate", "A red ball bounces", "-o", "film.mp4", "--duration", "5")
    run, windows = Reel._run, []

    def interrupted(self, filled, windows_of, part, progress):
        if len(windows) == 2:
            raise KeyboardInterrupt
        windows.append(windows_of[part[0]].part)
        return run(self, filled, windows_of, part, progress)

    monkeypatch.setattr(Reel, "_run", interrupted)
    assert openreels(*film).code == 130
    assert len(list(Path("film.mp4.work").iterdir())) == 2
    monkeypatch.setattr(Reel, "_run", lambda self, *rest: windows.append(rest[1][rest[2][0]].part) or run(self, *rest))
    assert openreels(*film).code == 0
    assert windows == [0, 1, 2, 3]
    assert Clip.open("film.mp4").frames.shape == (80, 64, 64, 3)
    assert not Path("film.mp4.work").exists()
    assert openreels(*film[:3], "again.mp4", *film[4:]).code == 0
    assert Path("film.mp4").read_bytes() == Path("again.mp4").read_bytes()


# -- the preview ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["preview.png", "preview.mp4"])
def test_a_preview_loads_no_model(pocket, openreels, files, name):
    outcome = openreels("edit", "clip.mp4", "x", "--mask", "mask.png", "--span", "0.5-1", "--preview-mask", name)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{name}: tinted is what would be made anew, 6% of the clip\n"
    assert not pocket.loads
    shown = Clip.open(name).frames
    assert shown.shape == ((1, 256, 256, 3) if name.endswith("png") else (32, 256, 256, 3))
    source = Clip.open("clip.mp4").frames.repeat(4, 1).repeat(4, 2).astype(int)
    frame, original = (shown[0], source[8]) if len(shown) == 1 else (shown[8], source[8])
    changed_HW = np.abs(frame - original).max(-1) > 40
    assert changed_HW[70:186, 38:154].mean() > 0.9
    assert changed_HW[:56].mean() < 0.05


def test_finished_parts_go_and_what_else_lies_beside_them_stays(tmp_path):
    from openreels.cli.making import clear

    work = tmp_path / "film.mp4.work"
    clear(work)  # nothing to do
    work.mkdir()
    for name in ("000-abc.safetensors", "notes.txt"):
        (work / name).write_text("x")
    clear(work)
    assert [path.name for path in work.iterdir()] == ["notes.txt"]
    (work / "notes.txt").unlink()
    clear(work)
    assert not work.exists()


# -- what is refused --------------------------------------------------------------------------------------------------

MISTAKES = {
    "edit without output": (["edit", "clip.mp4", "x"], "Missing option '-o' / '--output'"),
    "preview of nothing": (["edit", "clip.mp4", "x", "--preview-mask", "a.png"], "--preview-mask shows a mask or"),
    "mask of two numbers": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "1,2"], "--mask must be the path of"),
    "box beyond the picture": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "0,0,2,1"], "masks must be up to 16"),
    "box inside out": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "0.5,0,0.1,1"], "left < right and top"),
    "no such mask": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "no.png"], "no.png does not exist"),
    "no mask": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "cat.png"], "cat.png is no mask: "),
    "mask of sound": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--mask", "voice.wav"], "mask 1 must be a picture"),
    "polygon of two": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--polygon", "0,0,1,1"], "--polygon must be at least"),
    "invert nothing": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--invert-mask"], "--invert-mask needs a mask"),
    "span": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--span", "1"], "--span must be START-END in seconds"),
    "span of words": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--span", "a-b"], "span must be two numbers of seconds"),
    "span backwards": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--span", "1-0.5"], "start < end"),
    "span beyond": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--span", "1-9"], "span must lie within the video"),
    "whole span": (["edit", "clip.mp4", "x", "-o", "a.mp4", "--span", "0-2"], "nothing of it would be kept"),
    "too short": (["edit", "short.mp4", "x", "-o", "a.mp4"], "video lasts 0.5 s; accepted are 1 to 4 s"),
    "edit a picture": (["edit", "cat.png", "x", "-o", "a.mp4"], "video must be a clip, and "),
    "keyframe too late": (["generate", "x", "-o", "a.mp4", "--keyframe", "cat.png@9"], "a key frame is at 9 s"),
    "keyframe at noon": (["generate", "x", "-o", "a.mp4", "--keyframe", "cat.png@noon"], "keyframes must be up to 8"),
    "silent audio": (["generate", "x", "-o", "a.mp4", "--audio", "cat.png"], "the audio must be a file with sound"),
    "unknown tag": (["generate", "@dog", "-o", "a.mp4", "--ref", "cat=cat.png"], "@dog is no reference"),
    "unknown tag without references": (["generate", "@dog jumps", "-o", "a.mp4"], "@dog is no reference"),
    "output over its source": (["edit", "clip.mp4", "x", "-o", "clip.mp4"], "clip.mp4 is also given as video, and"),
    "output over a reference": (["generate", "@cat", "-o", "cat.png", "--ref", "cat=cat.png"], "given as references @"),
    "region without a portrait": (["generate", "x", "-o", "a.mp4", "--speaker", "voice.wav@0,0,1,1"], "a place in a"),
    "speaker of nobody": (["generate", "x", "-o", "a.mp4", "--voice", "cat=voice.wav"], "@cat, which is no reference"),
    "sounds": (["generate", "x", "-o", "a.mp4", "--sounds", "noise"], "sounds must be one or more of speech, effects"),
    "soundtrack of sound": (["soundtrack", "voice.wav", "x", "-o", "a.mp4"], "video must be a picture or a clip"),
    "silent portrait": (["avatar", "cat.png", "short.mp4", "-o", "a.mp4"], "must be a file with sound, not "),
    "a film too long": (["generate", "x", "-o", "a.mp4", "--duration", "150"], "accepts durations of 1 to 120 s"),
    "a long sound": (["generate", "x", "-o", "a.wav", "--audio-only", "--duration", "9"], "durations of 1 to 4 s"),
    "a picture of sound": (["generate", "x", "-o", "a.png", "--audio-only"], "a.png cannot hold a sound"),
    "drift of sound": (["inspect", "voice.wav", "--drift"], "voice.wav holds sound alone, so there is no picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_file(pocket, openreels, files, name):
    arguments, sentence = MISTAKES[name]
    before = sorted(Path().iterdir())
    outcome = openreels(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err
    *excerpt, last = outcome.err.splitlines()
    assert last.startswith("openreels: ")
    assert len(excerpt) == (2 if name == "unknown tag" else 0)
    assert not pocket.loads
    assert sorted(Path().iterdir()) == before


# -- how things are typed ---------------------------------------------------------------------------------------------


def test_forms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = lambda name: str(tmp_path / name)  # noqa: E731
    assert keyframe_of("a@b.png@auto") == {"path": here("a@b.png"), "at": "auto"}
    assert keyframe_of("a.png@1.5") == {"path": here("a.png"), "at": 1.5}
    Path("a@2").touch()
    assert keyframe_of("a@2") == {"path": here("a@2"), "at": "auto"}
    assert mask_of("0,0.5,1,1") == {"box": [0, 0.5, 1, 1]}
    Path("0,1").touch()
    assert mask_of("0,1") == {"path": here("0,1")}
    assert masks_of(["m.png"], None, True) == [{"path": here("m.png"), "invert": True}]
    assert masks_of(None, ["0,0,1,0,1,1"], False) == [{"polygon": [(0, 0), (1, 0), (1, 1)], "invert": False}]
    assert span_of("0.5-2") == [0.5, 2]
    assert reference_of("@cat=a=b.png") == {"tag": "cat", "path": here("a=b.png")}
    assert tagged_speaker_of("cat=v.wav", "voice") == {"tag": "cat", "voice": here("v.wav")}
    assert tagged_speaker_of("v.wav@0,0,1,1") == {"audio": here("v.wav"), "region": ["0", "0", "1", "1"]}
    for wrong in (lambda: reference_of("cat.png"), lambda: span_of("-2"), lambda: masks_of(["a", "b"], None, True)):
        with pytest.raises(RequestError):
            wrong()


def test_a_resolution_is_written_either_way():
    assert request_of({"prompt": "x", "resolution": "720P"}).resolution == "720p"


def test_json_of_an_edit(pocket, openreels, files):
    outcome = openreels("edit", "clip.mp4", "x", "-o", "a.mp4", "--json")
    assert json.loads(outcome.out)["recipe"]["request"]["use"] == "edit"


def test_a_film_of_references(pocket, openreels, files):
    refs = ("--ref", "cat=cat.png", "--ref", "voice=voice.wav")
    outcome = openreels("generate", "@cat talks with @voice", "-o", "a.mp4", "--duration", "4.5", *refs)
    assert (outcome.code, outcome.err) == (0, "")
    assert Clip.open("a.mp4").duration == 4.5
