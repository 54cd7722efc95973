"""The picture itself, as what lies on the lens or the screen sees it: whatever the camera looks at.

Legend: H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Screen"]

FINE = 64  # points per short side, the size that the world's fine drawings are made for


@dataclass(frozen=True)
class Screen:
    """A canvas of height x width pixels; the safe window of safe_height x safe_width pixels lies in its centre."""

    height: int
    width: int
    safe_height: int
    safe_width: int

    @property
    def unit(self) -> int:
        """Pixels per short side of the safe window."""
        return min(self.safe_height, self.safe_width)

    @property
    def step(self) -> int:
        """Pixels of a thin line: one at 64 pixels per short side."""
        return max(round(self.unit / FINE), 1)

    @property
    def left(self) -> int:
        """Pixels of the canvas left of the safe window."""
        return (self.width - self.safe_width) // 2

    @property
    def top(self) -> int:
        return (self.height - self.safe_height) // 2

    def from_centre(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Short sides from the centre to the middles of the pixels: x right (W,), y down (H, 1)."""
        x = (torch.arange(self.width, device=device, dtype=torch.float32) + 0.5 - self.width * 0.5) / self.unit
        y = (torch.arange(self.height, device=device, dtype=torch.float32) + 0.5 - self.height * 0.5) / self.unit
        return x, y[:, None]

    def points(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Fine points (`FINE` per short side) from the safe window's top left to the middles of the pixels."""
        x = (torch.arange(self.width, device=device, dtype=torch.float32) + 0.5 - self.left) * (FINE / self.unit)
        y = (torch.arange(self.height, device=device, dtype=torch.float32) + 0.5 - self.top) * (FINE / self.unit)
        return x, y[:, None]
