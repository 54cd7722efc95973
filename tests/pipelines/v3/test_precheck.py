"""What is refused before a V3 model loads, by its hub id alone: nothing is fetched, and no network is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openreels.cli import making
from openreels.cli.__main__ import main
from openreels.media import Clip
from openreels.pipelines.v3.planning import MODELS
from openreels.pipelines.v3.precheck import precheck
from openreels.request import Request

R2V, V2V, A2V = (MODELS[name].hub_ids[0] for name in ("r2v", "v2v", "a2v"))


@pytest.fixture
def files(make, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Clip(make.picture(64, 96)[None], 1).save("cat.png")
    whole = Path("cat.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    make.clip(30).save("film.mp4")
    for name, seconds in (("voice", 0.5), ("short", 0.3), ("long", 201)):
        Clip(audio=make.tone(seconds, 8_000), sample_rate=8_000).save(f"{name}.wav")
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save("small.png")
    Image.new("L", (96, 64)).save("dark.png")
    return tmp_path


def refs(*paths: str) -> list[str]:
    return [f"--ref=c{index}={path}" for index, path in enumerate(paths)]


REFUSED = {
    "another task": (A2V, ["extend", "film.mp4", "x"], "accepts the tasks a2v, not v2v"),
    "five references": (R2V, ["generate", "x", *refs(*["cat.png"] * 5)], "references must be 1 to 4 pictures, not 5"),
    "a clip as reference": (R2V, ["generate", "x", *refs("film.mp4")], "reference @c0 must be a picture file"),
    "a damaged reference": (R2V, ["generate", "x", *refs("cat.png", "cut.png")], "reference @c1 "),
    "a sound as reference": (R2V, ["generate", "x", *refs("voice.wav")], "reference @c0 must be a picture file"),
    "a long shot": (V2V, ["extend", "film.mp4", "x", "--transition", "cut-in", "--duration", "6"], "2 to 5 seconds"),
    "a short shot": (V2V, ["extend", "film.mp4", "x", "--transition", "none", "--duration", "1.5"], "2 to 5 seconds"),
    "a short speech": (A2V, ["avatar", "cat.png", "short.wav"], "speaker 1 must last at least 0.4 s, not 0.30 s"),
    "a long speech": (A2V, ["avatar", "cat.png", "long.wav"], "speaker 1 must end by 200 s, not at 201.0 s"),
    "a clip as portrait": (A2V, ["avatar", "film.mp4", "voice.wav"], "image must be a picture file"),
    "a damaged portrait": (A2V, ["avatar", "cut.png", "voice.wav"], "is damaged"),
    "a small mask": (
        A2V,
        ["avatar", "cat.png", "voice.wav@small.png", "--speaker", "voice.wav@0,0,1,1"],
        "mask of speaker 1 is 10 x 10 pixels; the portrait has 96 x 64",
    ),
    "an empty mask": (
        A2V,
        ["avatar", "cat.png", "voice.wav@dark.png", "--speaker", "voice.wav@0,0,1,1"],
        "mask of speaker 1 is empty",
    ),
    "a place off the picture": (  # which is cropped to 16:9: its upper and lower edges are lost
        A2V,
        ["avatar", "cat.png", "voice.wav@0,0,1,0.02", "--speaker", "voice.wav@0,0.5,1,1", "--aspect", "16:9"],
        "speaker 1 lies outside the picture",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_fetched(files, monkeypatch, capsys, name):
    model, arguments, sentence = REFUSED[name]
    monkeypatch.setattr(making, "loaded", lambda *arguments: pytest.fail("the model was to be loaded"))
    assert main([*arguments, "-o", "a.mp4", "--model", model]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_what_can_be_done_passes(files):
    cat = {"tag": "cat", "path": "cat.png"}
    precheck(Request.parse({"prompt": "@cat", "references": [cat], "duration": 5.0}), R2V, R2V)
    film = {"prompt": "x", "video": "film.mp4"}
    precheck(Request.parse(film | {"duration": 9.0}), V2V, V2V)
    precheck(Request.parse(film | {"transition": "cut-in"}), V2V, V2V)
    precheck(Request.parse(film | {"transition": "auto", "duration": 9.0}), V2V, V2V)  # the shot will go on
    places = [
        {"audio": "voice.wav", "region": (0.0, 0.0, 0.5, 1.0)},
        {"audio": "film.mp4", "region": (0.5, 0.0, 1.0, 1.0)},
    ]
    precheck(Request.parse({"prompt": "x", "image": "cat.png", "speakers": places}), A2V, A2V)


def test_nothing_is_known_of_other_models_on_the_hub(files):
    precheck(Request(prompt="x"), "somebody/model", "somebody/model")
