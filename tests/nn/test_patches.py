"""Patches. Legend: see nn/patches.py."""

import pytest
import torch

from openreels.nn.linear import ZeroLinear
from openreels.nn.patches import latents_from_tokens, tokens_from_latents


@pytest.mark.parametrize("patch", [1, 2])
def test_a_linear_layer_on_tokens_is_a_convolution_over_patches(tiny, patch):
    latents, kernel = tiny.noise(2, 3, 2, 4, 6), tiny.noise(5, 3, 1, patch, patch, seed=1)
    convolved = torch.nn.functional.conv3d(latents, kernel, stride=(1, patch, patch)).flatten(2).transpose(1, 2)
    tokens = tokens_from_latents(latents, patch)
    assert tokens.shape == (2, 2 * (4 // patch) * (6 // patch), 3 * patch**2)
    torch.testing.assert_close(tokens @ kernel.flatten(1).T, convolved)
    assert torch.equal(latents_from_tokens(tokens, 2, 4 // patch, patch), latents)


def test_latents_that_do_not_divide_are_refused(tiny):
    with pytest.raises(ValueError, match="4 x 5 latent positions do not divide into patches of 2 x 2"):
        tokens_from_latents(tiny.noise(1, 3, 2, 4, 5), 2)


def test_a_zero_layer_is_zero_and_draws_what_any_layer_draws():
    torch.manual_seed(0)
    layer, after = ZeroLinear(3, 4), torch.rand(1)
    assert not layer.weight.any() and not layer.bias.any()
    torch.manual_seed(0)
    torch.nn.Linear(3, 4)
    assert torch.equal(after, torch.rand(1))
