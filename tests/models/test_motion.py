"""Weights with and without motion channels. Legend: see models/motion.py."""

import pytest
import torch

from openreels.models.motion import fitted


@pytest.mark.parametrize(("name", "axis"), [("video.embed.weight", 1), ("video.to_velocity.weight", 0)])
def test_channels_come_and_go_at_the_end(tiny, name, axis):
    value, like = tiny.noise(6, 6), tiny.noise(*(8 if i == axis else 6 for i in range(2)), seed=1)
    grown = fitted(name, value, like, 2)
    assert torch.equal(grown.narrow(axis, 0, 6), value)
    assert torch.equal(grown.narrow(axis, 6, 2), like.narrow(axis, 6, 2))
    assert torch.equal(fitted(name, grown, value, -2), value)


@pytest.mark.parametrize(("name", "more"), [("video.to_velocity.bias", 0), ("video.to_velocity.bias", 3), ("x", 2)])
def test_other_differences_are_refused(tiny, name, more):
    """Two channels more may be other latents: only the models' configs know."""
    with pytest.raises(ValueError, match=r"is \(6,\) in one model and \(8,\) in the other"):
        fitted(name, tiny.noise(6), tiny.noise(8), more)
