"""Costs counted on the meta device against costs known by hand. Legend: B batch, D width."""

import pytest
import torch
from torch import nn

from openreels.nn.attention import attention
from openreels.nn.metering import flops_of, parameters_of, peak_of

B, D = 64, 128


@pytest.fixture
def layers():
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(D, 4 * D), nn.ReLU(), nn.Linear(4 * D, D))


def test_flops(layers):
    x = torch.empty(B, D, device="meta")
    assert flops_of(lambda: layers(x)) == 2 * (2 * B * D * 4 * D)
    assert parameters_of(layers) == 2 * 4 * D * D + 4 * D + D


@torch.no_grad()
def test_peak_is_of_what_lives_together(layers):
    x = torch.empty(B, D, device="meta")
    hidden, out = 4 * B * 4 * D, 4 * B * D
    # Linear's output and ReLU's stand side by side; the first is gone when the second linear layer writes.
    assert peak_of(lambda: layers(x)) == 2 * hidden
    assert peak_of(lambda: layers[2](layers[1](layers[0](x).clone()))) == 2 * hidden
    held = []
    assert peak_of(lambda: [held.append(layers[0](x)) for _ in range(3)]) == 3 * hidden
    assert peak_of(lambda: x + 1) == out
    assert peak_of(lambda: x.add_(1).view(-1)) == 0  # in place, and views


def test_what_backward_needs_is_kept(layers):
    x = torch.empty(B, D, device="meta")

    def step():
        layers(x).sum().backward()
        layers.zero_grad()

    with torch.no_grad():
        forward = peak_of(lambda: layers(x))
    gradients = 4 * parameters_of(layers)
    assert peak_of(step) >= forward + gradients // 2


@pytest.mark.parametrize("tokens", [8, 4096])
def test_attention_counts_as_a_fused_kernel(tokens):
    """No matrix of scores, however small the kernel that a CPU would take; backward makes two products for each."""
    q = torch.empty(2, tokens, 4, 16, device="meta", requires_grad=True)
    product = 2 * (2 * tokens * 4 * 16) * tokens
    output, log_sums = 4 * q.numel(), 4 * 2 * tokens * 4
    assert flops_of(lambda: attention(q, q, q)) == 2 * product
    assert peak_of(lambda: attention(q, q, q)) == output + log_sums
    assert flops_of(lambda: attention(q, q, q).sum().backward()) == 6 * product
