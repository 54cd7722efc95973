"""Muon and AdamW share the parameters between them, and both really move them."""

import pytest
import torch
from torch import nn

from openreels.training.optimizers import MatrixMuon, muon_and_adamw

pytestmark = pytest.mark.usefixtures("one_thread")


def owned(optimizers) -> tuple[set[int], set[int]]:
    muon, adamw = optimizers
    return tuple({id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer in (muon, adamw))


def test_every_trainable_parameter_has_one_owner_and_frozen_ones_none(tiny):
    model = tiny.transformer()
    model.audio.requires_grad_(False)
    muon, adamw = owned(muon_and_adamw([model], muon_lr=0.01, adamw_lr=0.01))
    assert not muon & adamw
    assert muon | adamw == {id(p) for p in model.parameters() if p.requires_grad}


def test_layers_that_meet_data_and_vectors_go_to_adamw(tiny):
    model = tiny.transformer()
    muon, adamw = owned(muon_and_adamw([model], muon_lr=0.01, adamw_lr=0.01))
    assert {id(model.video.embed.weight), id(model.video.to_velocity.weight), id(model.video.embed.bias)} <= adamw
    assert {id(model.layers[0].video.stream.to_qkv.weight), id(model.layers[1].audio.to_out.weight)} <= muon


def test_muon_takes_the_steps_of_torch():
    torch.manual_seed(0)
    weights = [torch.randn(40, 64), torch.randn(64, 32)]
    ours, theirs = ([nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
    pair = MatrixMuon(ours, **options), torch.optim.Muon(theirs, **options)
    for step in range(3):
        for optimizer, parameters in zip(pair, (ours, theirs), strict=True):
            for parameter in parameters:
                generator = torch.Generator().manual_seed(step)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
    for one, other, start in zip(ours, theirs, weights, strict=True):
        # torch iterates in bfloat16, so the last bits of the direction differ.
        assert (one - other).norm() < 0.02 * (other - start).norm()


def test_weights_in_any_memory_format_take_the_same_step():
    steps = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        conv = nn.Conv2d(32, 32, 3).to(memory_format=memory_format)
        muon, _ = muon_and_adamw([conv], muon_lr=0.01, adamw_lr=0.01)
        conv.weight.grad = torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(1))
        muon.step()
        steps.append(conv.weight.detach().clone())
    assert torch.equal(*steps)


def test_a_step_moves_convolutions():
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 32, 3)
    before = conv.weight.detach().clone()
    optimizers = muon_and_adamw([conv], muon_lr=0.01, adamw_lr=0.01)
    conv(torch.ones(1, 32, 4, 4)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    assert (conv.weight - before).abs().max() > 1e-4
    assert conv.weight.grad is None and conv.bias.grad is None


def test_an_update_of_muon_is_nearly_orthogonal():
    torch.manual_seed(0)
    layer = nn.Linear(32, 48, bias=False)
    before = layer.weight.detach().clone()
    muon, _ = muon_and_adamw([layer, nn.LayerNorm(4)], muon_lr=1.0, adamw_lr=0.01, weight_decay=0.0)
    layer(torch.randn(64, 32)).square().sum().backward()
    muon.step()
    singular = torch.linalg.svdvals(layer.weight.detach() - before)
    assert singular.min() > 0.4 * singular.max()
