"""V3's schedules. Whole trajectories against the official ones: tests/golden."""

import pytest
import torch

from openreels.flow.unipc import euler_times, unipc


@pytest.mark.parametrize(
    ("shift", "times"),
    [(8, [999, 982, 959, 930, 888, 827, 727, 533]), (5, [999, 972, 937, 892, 833, 749, 624, 416])],
)
def test_timesteps_are_pinned(shift, times):
    scheduler = unipc(8, shift)
    assert scheduler.timesteps.tolist() == times and scheduler.timesteps.dtype == torch.int64
    assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_straight_path_ends_at_the_data(steps):
    """Where the velocity is the true one (noise - data), every step lands on the path."""
    data, noise = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    scheduler = unipc(steps, 5)
    sample = data + scheduler.sigmas[0] * (noise - data)
    for time in scheduler.timesteps:
        sample = scheduler.step(noise - data, time, sample, return_dict=False)[0]
    torch.testing.assert_close(sample, data, atol=1e-5, rtol=0)


def test_schedulers_share_no_state():
    first, second = unipc(4, 8), unipc(4, 8)
    first.step(torch.zeros(1), first.timesteps[0], torch.ones(1))
    assert second.step_index is None and first.step_index == 1


def test_euler_times():
    assert euler_times(4, 11).tolist() == pytest.approx([1000, 956.5841, 846.5437, 10.8911, 0], abs=1e-3)
    assert euler_times(1, 5).tolist() == [1000, 0]
    assert euler_times(40, 5).dtype == torch.float32
