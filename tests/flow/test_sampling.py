"""The sampling loop against velocity fields that are known exactly. Legend: see flow/sampling.py."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.flow.guidance import Guidance
from openreels.flow.sampling import sample
from openreels.flow.schedule import Schedule

pytestmark = pytest.mark.usefixtures("one_thread")
OFF = Guidance(1.0, 1.0)


def towards(*points):
    """The field of data that is one point per stream: (x - z) / (1 - t), nothing to do at t = 1."""

    def field(state, x):
        left = (1 - state.time_B)[:, None, None]
        return torch.where(left > 0, (x - state.noisy_BNC) / left.clamp(min=1e-9), 0.0)

    return lambda video, audio, context, tie: tuple(
        None if state is None else field(state, x) for state, x in zip((video, audio), points, strict=True)
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=st.integers(1, 40), shift=st.floats(0.5, 8), lag=st.floats(0, 0.8))
def test_a_known_point_is_reached_with_any_schedule(tiny, steps, shift, lag):
    video, audio = tiny.video(time=0.0), tiny.audio(time=0.0)
    points = tiny.noise(*video.noisy_BNC.shape, seed=8), tiny.noise(*audio.noisy_BNC.shape, seed=9)
    context = tiny.context()
    ends = sample(towards(*points), video, audio, context, context, Schedule(steps, shift, lag), OFF)
    for end, start, point in zip(ends, (video, audio), points, strict=True):
        assert_close(end.noisy_BNC, point, atol=1e-4, rtol=1e-4)
        assert end.time_B.tolist() == [1.0, 1.0]
        assert end.positions_NP is start.positions_NP


def test_gaussian_data_comes_out_with_its_mean_and_deviation(tiny):
    """Mean 3, deviation 0.5: the velocity field is known in closed form, E[data - noise | z_t]."""
    mean, std = 3.0, 0.5

    def field(video, audio, context, tie):
        t = video.time_B[:, None, None]
        slope = (t * std**2 - (1 - t)) / (t**2 * std**2 + (1 - t) ** 2)
        return mean + slope * (video.noisy_BNC - t * mean), None

    start = replace(tiny.video(batch=1, time=0.0), noisy_BNC=tiny.noise(1, 20_000, 1))
    end, _ = sample(field, start, None, tiny.context(1), tiny.context(1), Schedule(200), OFF)
    assert end.noisy_BNC.mean().item() == pytest.approx(mean, abs=0.02)
    assert end.noisy_BNC.std().item() == pytest.approx(std, abs=0.02)


def test_each_step_sees_the_times_of_the_schedule(tiny):
    schedule, seen = Schedule(5, shift=2.0, audio_lag=0.3), []

    def still(video, audio, context, tie):
        seen.append((video.time_B[0].item(), audio.time_B[0].item()))
        return torch.zeros_like(video.noisy_BNC), torch.zeros_like(audio.noisy_BNC)

    sample(still, tiny.video(time=0.0), tiny.audio(time=0.0), tiny.context(), tiny.context(), schedule, OFF)
    video_times, audio_times = schedule.times()
    assert seen == list(zip(video_times[:-1].tolist(), audio_times[:-1].tolist(), strict=True))


def test_a_stream_left_out_stays_out(tiny, shaken):
    video, audio = sample(shaken, None, tiny.audio(time=0.0), tiny.context(), tiny.context(), Schedule(2), OFF)
    assert video is None and audio.noisy_BNC.isfinite().all()


def test_progress_is_told_each_step_and_can_stop(tiny, shaken):
    seen = []

    def progress(step, steps):
        seen.append((step, steps))
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(shaken, tiny.video(time=0.0), None, tiny.context(), tiny.context(), Schedule(9), OFF, progress)
    assert seen == [(1, 9), (2, 9), (3, 9)]


@pytest.mark.parametrize("given", ["video", "audio"])
def test_a_given_stream_stays_as_it_is_and_the_other_follows_it(tiny, shaken, given):
    """It is at time 1 in every branch of guidance at every step, comes out bit for bit, and changes the other one."""
    seen = []

    def watched(video, audio, context, tie):
        state = video if given == "video" else audio
        seen.append((state.time_B.tolist(), state.noisy_BNC))
        return shaken(video, audio, context, tie)

    def made(seed: int):
        streams = {"video": tiny.video(batch=1, time=0.0), "audio": tiny.audio(batch=1, time=0.0)}
        clean = tiny.noise(*streams[given].noisy_BNC.shape, seed=seed)
        streams[given] = streams[given].at(clean, torch.ones(1))
        contexts = tiny.context(1), tiny.context(1, seed=9)
        ends = sample(watched, *streams.values(), *contexts, Schedule(3), Guidance(3.0, 2.0))
        ends = dict(zip(streams, ends, strict=True))
        assert torch.equal(ends[given].noisy_BNC, clean) and ends[given].time_B.tolist() == [1.0]
        assert all(times == [1.0] * 3 and torch.equal(part, clean.repeat(3, 1, 1)) for times, part in seen)
        seen.clear()
        return next(end.noisy_BNC for name, end in ends.items() if name != given)

    assert not torch.allclose(made(seed=20), made(seed=21), atol=1e-4)
