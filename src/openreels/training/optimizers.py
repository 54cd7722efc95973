"""Optimizers: Muon on the matrices and convolutions inside the network, AdamW on everything else (both from torch).

At pocket size the pair reached a clearly lower loss in equal time than AdamW alone (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["MatrixMuon", "muon_and_adamw"]

MEET_DATA = ("embed", "to_velocity", "shared", "enter", "leave")


class MatrixMuon(torch.optim.Muon):
    """torch's Muon, which takes matrices only, on weights of any rank: a convolution is (outputs) x (inputs * taps)."""

    def __init__(self, parameters: Iterable[nn.Parameter], **options):
        self.tensors = list(parameters)
        # The flat twins share the weights' memory, so a step on them is a step on the weights.
        # (`view` raises where it would have to copy: a channels-last weight has to be made contiguous first.)
        self.twins = [nn.Parameter(tensor.data.view(len(tensor), -1)) for tensor in self.tensors]
        super().__init__(self.twins, **options)

    def step(self, closure=None):
        for tensor, twin in zip(self.tensors, self.twins, strict=True):
            twin.grad = None if tensor.grad is None else tensor.grad.flatten(1)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for tensor in self.tensors:
            tensor.grad = None
        super().zero_grad(set_to_none)


def muon_and_adamw(
    modules: Iterable[nn.Module], *, muon_lr: float, adamw_lr: float, weight_decay: float = 0.01
) -> list[torch.optim.Optimizer]:
    """Two optimizers that together own every trainable parameter once.

    Muon orthogonalises the update of a matrix, which suits weights between hidden features. Embedding tables, biases,
    norms, and layers that meet data directly (named as in `MEET_DATA`, or with a small side) go to AdamW.
    """
    matrices, rest = [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            meets_data = any(part.startswith(MEET_DATA) for part in name.split("."))
            hidden = parameter.ndim >= 2 and min(parameter.shape[:2]) >= 32 and not meets_data
            (matrices if hidden else rest).append(parameter)
    return [
        MatrixMuon(matrices, lr=muon_lr, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="original"),
        torch.optim.AdamW(rest, lr=adamw_lr, betas=(0.9, 0.98), weight_decay=weight_decay),
    ]
