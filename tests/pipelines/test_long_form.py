"""What is finished is not made again, and an interrupted film ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openreels.pipelines.long_form import resumable
from openreels.pipelines.registry import POCKET
from openreels.request import Request, RequestError
from openreels.tasks.filming import filmed
from openreels.tasks.making import making
from openreels.tasks.window import Made, Model, Window

MODEL = Model(POCKET, side=16, group=4, channels=1)
FILM = Request(prompt="a ball", duration=6.0)


class Stopped(Exception):
    pass


def made_of(window: Window) -> Made:
    """What a model makes of a window: something that depends on all it is given."""
    rng = np.random.default_rng(window.part)
    frames = torch.from_numpy(rng.integers(0, 256, (window.frames, *window.canvas.size, 3), np.uint8))
    if window.given.keep_THW is not None:
        frames = torch.where(window.given.keep_THW[..., None], window.given.frames_THWC, frames)
    level = sum(float(sound.mean()) for sound in window.given.sounds) / 2 + window.part / 8
    frames = window.canvas.cut(frames, window.frames)
    return Made(frames, np.full((1, window.frames * 1_000), level, np.float32) if window.audio else None)


def run(request: Request, work: Path | None, identity: str = "weights 0", stop_after: int = 99):
    """(The clip, the parts that were made)."""
    request = request.filled(POCKET)
    inner = filmed(request, MODEL, None) if request.duration > 4 else making(request, MODEL, None)
    windows, parts, made = resumable(inner, work, identity), [], None
    while True:
        try:
            window = windows.send(made)
        except StopIteration as end:
            return end.value, parts
        if len(parts) == stop_after:
            raise Stopped
        made = made_of(window)
        parts.append(window.part)


def test_an_interrupted_film_goes_on(tmp_path):
    whole, parts = run(FILM, None)
    assert parts == [0, 1, 2, 3]
    with pytest.raises(Stopped):
        run(FILM, tmp_path / "work", stop_after=2)
    assert len(list((tmp_path / "work").iterdir())) == 2
    resumed, parts = run(FILM, tmp_path / "work")
    assert parts == [2, 3]
    assert np.array_equal(resumed.frames, whole.frames)
    assert np.array_equal(resumed.audio, whole.audio)
    assert run(FILM, tmp_path / "work")[1] == []


@pytest.mark.parametrize(
    ("other", "identity"),
    [
        (FILM.model_copy(update={"prompt": "a box"}), "weights 0"),
        (FILM.model_copy(update={"aspect": "16:9"}), "weights 0"),
        (FILM, "weights 1"),
    ],
)
def test_of_another_film_nothing_is_taken(tmp_path, other, identity):
    run(FILM, tmp_path)
    _, parts = run(other, tmp_path, identity)
    assert parts == [0, 1, 2, 3][: len(parts)]
    assert len(parts) >= 4


def test_a_damaged_part_is_named(tmp_path):
    run(FILM, tmp_path)
    path = next(tmp_path.glob("002-*"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RequestError, match="is damaged; delete it to make this part again"):
        run(FILM, tmp_path)


def test_a_short_clip_leaves_no_folder(tmp_path):
    run(Request(prompt="a ball", duration=2.0), tmp_path / "work")
    assert not (tmp_path / "work").exists()
