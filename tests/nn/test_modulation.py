"""How time reaches the blocks. Legend: see nn/modulation.py."""

import pytest
import torch
from torch.testing import assert_close

from openreels.nn.modulation import AdaptiveNorm, TimeEmbedding, per_token


def test_nearby_times_are_told_apart_and_each_group_has_its_own():
    torch.manual_seed(0)
    embed = TimeEmbedding(16)
    out = embed(torch.tensor([[1.0, 0.5], [0.5, 0.501]]))
    assert out.shape == (2, 2, 16)
    assert_close(out[0, 1], out[1, 0])
    assert (out[1, 0] - out[1, 1]).abs().max() > 1e-3


def test_time_1_is_where_the_open_models_count_noise_0():
    """Sinusoids of 1000 (1 - t): at t = 1 all cosines are 1 and all sines 0."""
    seen = []
    embed = TimeEmbedding(4, frequencies=8)
    embed.mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    embed(torch.tensor([[1.0]]))
    assert seen[0][0, 0].tolist() == [1.0] * 4 + [0.0] * 4


@pytest.mark.parametrize("rank", [None, 3])
def test_modulation_starts_at_zero_and_can_learn(rank):
    norm = AdaptiveNorm(8, 6, rank)
    chunks = norm(torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)))
    assert len(chunks) == 6 and all(chunk.shape == (2, 1, 8) and not chunk.any() for chunk in chunks)
    sum(chunk.sum() for chunk in chunks).backward()
    assert norm.up.weight.grad.any()


def test_tokens_get_the_values_of_their_group():
    values = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert per_token(values, (2, 3))[..., 0].tolist() == [[1, 1, 2, 2, 2], [3, 3, 4, 4, 4]]
    assert per_token(values, (0, 2))[..., 0].tolist() == [[2, 2], [4, 4]]
    assert per_token(values[:, :1], (5,)).shape == (2, 1, 1)
