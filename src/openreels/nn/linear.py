"""A linear layer that starts as nothing.

What it feeds is at first as if it were not there, so parts can be added to a trained model unharmed.
"""

from __future__ import annotations

from torch import nn

__all__ = ["ZeroLinear"]


class ZeroLinear(nn.Linear):
    """`nn.Linear` whose weight and bias start at zero."""

    def reset_parameters(self) -> None:
        # The draw is kept: seeds go on meaning what they meant when these layers were zeroed after they were made.
        super().reset_parameters()
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
