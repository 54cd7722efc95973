"""The straight path between noise and data."""

import torch
from torch.testing import assert_close

from openreels.flow.path import interpolate, velocity


def test_the_ends_are_noise_and_data_and_the_velocity_leads_from_one_to_the_other(tiny):
    data, noise = tiny.noise(3, 4, 5), tiny.noise(3, 4, 5, seed=1)
    time = torch.tensor([0.0, 0.4, 1.0])
    z = interpolate(data, noise, time)
    assert torch.equal(z[0], noise[0]) and torch.equal(z[2], data[2])
    assert_close(z[1], 0.4 * data[1] + 0.6 * noise[1])
    assert_close(z + (1 - time)[:, None, None] * velocity(data, noise), data)
