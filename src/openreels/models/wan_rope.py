"""Rotary positions of the Wan networks: tables over any frame positions, and the rotation itself.

Legend: B batch, F latent frames, S tokens of a frame (h rows, w columns), H heads, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["WanRotary", "frequencies", "rotate", "turns"]

THETA = 10_000.0


def frequencies(dim: int, dtype: torch.dtype) -> Tensor:
    """Angle per unit of position of each of dim / 2 channel pairs, on the CPU."""
    return 1.0 / THETA ** (torch.arange(0, dim, 2, dtype=dtype) / dim)


def turns(angles: Tensor) -> Tensor:
    """float32 (cos, sin) of angles, stacked as a last axis of 2."""
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float()


def rotate(x_BFSHd: Tensor, table_BFS1d2: Tensor) -> Tensor:
    """Turn neighbouring channel pairs by the table's angles; float32. The table broadcasts over batch and heads.

    One product of complex numbers: on a CPU five times faster than in real ones, and without their temporaries.
    """
    pairs = torch.view_as_complex(x_BFSHd.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.view_as_complex(table_BFS1d2)).flatten(-2)


class WanRotary(nn.Module):
    """Table of all tokens' turns; a module so that context parallelism can split what it returns.

    dtype: of the angles. The released networks differ: the extension networks used float32, whose rounding (3.4e-5 at
    position 1024) is part of what they learned; the others float64.
    """

    def __init__(self, head_dim: int, dtype: torch.dtype):
        super().__init__()
        side = 2 * (head_dim // 6)
        self.axis_dims = (head_dim - 2 * side, side, side)
        self.angle_dtype = dtype

    def forward(self, positions_F: Tensor, rows: int, columns: int, device: torch.device) -> Tensor:
        """(1, F, rows * columns, 1, d / 2, 2) float32. positions_F: places of the frames, any numbers.

        The angles of the three axes are taken on the CPU (not every device has float64) and spread on the device.
        """
        places = (positions_F, torch.arange(rows), torch.arange(columns))
        axes = []
        for axis, (place, dim) in enumerate(zip(places, self.axis_dims, strict=True)):
            angles = torch.outer(place.to("cpu", self.angle_dtype), frequencies(dim, self.angle_dtype))
            shape = [1, 1, 1, -1, 2]
            shape[axis] = len(place)
            axes.append(turns(angles).to(device).view(shape).expand(len(positions_F), rows, columns, -1, 2))
        return torch.cat(axes, dim=-2).flatten(1, 2)[None, :, :, None]
