"""Which times the sampler visits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.flow.schedule import Schedule

quick = settings(max_examples=150, deadline=None, derandomize=True)
steps, shifts, lags = st.integers(1, 120), st.floats(0.2, 12), st.floats(0, 0.99)


@quick
@given(steps, shifts, lags)
def test_both_streams_go_from_exactly_0_to_exactly_1_and_never_back(steps, shift, lag):
    for times in Schedule(steps, shift, lag).times():
        assert times.shape == (steps + 1,) and times.dtype == torch.float32
        assert float(times[0]) == 0 and float(times[-1]) == 1
        assert (times.diff() >= 0).all()


@quick
@given(steps, shifts, lags)
def test_sound_never_runs_ahead_of_the_picture(steps, shift, lag):
    video, audio = Schedule(steps, shift, lag).times()
    assert (audio <= video + 1e-6).all()
    if lag == 0:
        assert torch.equal(audio, video)


def test_without_shift_the_steps_are_even():
    video, audio = Schedule(4).times()
    assert video.tolist() == audio.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_shift_is_that_of_the_open_models():
    sigma = torch.linspace(1, 0, 11, dtype=torch.float64)
    assert_close(1 - Schedule(10, shift=3.0).times()[0], (3 * sigma / (1 + 2 * sigma)).float())


@pytest.mark.parametrize("lag", [0.25, 0.5])
def test_the_lag_is_a_share_of_the_way(lag):
    """While the picture has gone p of its way, the sound has gone p - lag; the picture waits for it at the end."""
    video, audio = Schedule(60, audio_lag=lag).times()
    moving = (video < 1) & (audio > 0)
    assert moving.any()
    assert_close((video - audio)[moving], torch.full((int(moving.sum()),), lag))
    assert (video == 1).sum() > 1 and (audio == 0).sum() > 1
