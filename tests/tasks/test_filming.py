"""A film as its windows: what each is given, and how their results are joined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.pipelines.registry import POCKET
from openreels.request import Request
from openreels.tasks.filming import filmed, key_moments
from openreels.tasks.window import Made, Model, Window

MODEL = Model(POCKET, side=16, group=4, channels=1)
RATE = 1_000  # samples of a frame


def run(request: Request) -> tuple[list[Window], object]:
    """The windows of a film whose every frame and sample says when it was made: (window, index)."""
    film, windows = filmed(request.filled(POCKET), MODEL, read=None), []
    made = None
    while True:
        try:
            window = film.send(made)
        except StopIteration as end:
            return windows, end.value
        frames = torch.zeros((window.frames, *window.canvas.size, 3), dtype=torch.uint8)
        frames[..., 0], frames[..., 1] = len(windows), torch.arange(window.frames)[:, None, None]
        if window.given.keep_THW is not None:
            frames = torch.where(window.given.keep_THW[..., None], window.given.frames_THWC, frames)
        sound = None
        if window.audio:
            sound = (len(windows) + np.arange(window.frames * RATE) / 100_000).astype(np.float32)[None]
        made = Made(window.canvas.cut(frames, window.frames), sound)
        windows.append(window)


def test_every_stretch_has_its_two_key_frames_and_neighbours_share_theirs():
    windows, _ = run(Request(prompt="a ball", duration=10.0))
    key_clip, *stretches = windows
    assert len(stretches) == 5  # of 33 frames, the first of each the last before: 161 hold the 160
    assert (key_clip.audio, key_clip.given.keep_THW) == (False, None)
    moments = key_moments(5, 33)
    for number, stretch in enumerate(stretches):
        keep = stretch.given.keep_THW.numpy()
        assert np.array_equal(keep.all(axis=(1, 2)), np.isin(np.arange(33), (0, 32)))
        assert np.array_equal(keep.any(axis=(1, 2)), keep.all(axis=(1, 2)))
        ends = stretch.given.frames_THWC[[0, -1], 0, 0].tolist()
        assert ends == [[0, moments[number], 0], [0, moments[number + 1], 0]]
        assert [tuple(picture.shape) for picture in stretch.given.pictures] == [(1, 64, 64, 3)]
        assert (stretch.part, stretch.parts) == (number + 1, 6)


def test_the_sound_of_a_stretch_is_the_reference_of_the_next():
    windows, _ = run(Request(prompt="a ball", duration=6.0))
    assert [len(window.given.sounds) for window in windows] == [0, 0, 1, 1]
    assert windows[3].given.sounds[0].round().unique().tolist() == [2.0]


@pytest.mark.parametrize("seconds", [4.5, 6.0, 60.0])
def test_a_film_is_exact_to_the_frame_and_the_sample(seconds):
    _, clip = run(Request(prompt="a ball", duration=seconds, aspect="16:9"))
    assert clip.frames.shape == (16 * seconds, 64, 114, 3)
    assert (clip.audio.shape, clip.fps) == ((1, 16_000 * seconds), 16)
    for index, frame in enumerate(clip.frames):
        part, within = divmod(index, 32)
        is_key = within == 0
        assert frame[0, 0, 0] == (0 if is_key else part + 1)
        assert is_key or frame[0, 0, 1] == within
    # Each stretch is heard from where it begins: the seam lies within the frame that it shares with the one before.
    for part in range(1, len(clip.frames) // 32):
        start = part * 32 * RATE
        assert clip.audio[0, start - 1] == pytest.approx(part + 0.31999)
        assert clip.audio[0, start + RATE] == pytest.approx(part + 1 + 0.01)


def test_without_sound():
    windows, clip = run(Request(prompt="a ball", duration=6.0, modality="video"))
    assert clip.audio is None
    assert not any(window.audio or window.given.sounds for window in windows)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(2, 129))
def test_key_moments(stretches, frames):
    moments = key_moments(stretches, frames)
    assert (len(moments), moments[0], moments[-1]) == (stretches + 1, 0, frames - 1)
    steps = np.diff(moments)
    assert (steps >= 0).all()
    assert steps.max() - steps.min() <= 1
