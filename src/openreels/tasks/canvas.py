"""Where a result lies on what the model draws.

A model draws whole tokens: its canvas is the smallest grid that covers the result, which is cut from its centre. In
time it draws whole latent frames; the result is the first frames of them.

Legend: T frames, H W pixels, C = 3 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from openreels.media import Clip
from openreels.media.aspect import canvas_size, centre_crop, frame_size, pad_to_canvas, short_side
from openreels.media.timing import padded_frames
from openreels.tasks.fitting import contain, cover, cover_mask, moments

__all__ = ["Canvas"]


@dataclass(frozen=True)
class Canvas:
    """height, width: of the result, in pixels. fps: of the model.

    side: pixels of a token, in height and in width. group: frames of a latent frame.
    """

    height: int
    width: int
    fps: Fraction
    side: int
    group: int

    @classmethod
    def of(cls, aspect: str, resolution: str, fps: Fraction, side: int, group: int) -> Canvas:
        return cls(*frame_size(aspect, short_side(resolution)), fps, side, group)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what the model draws."""
        return canvas_size(self.height, self.width, self.side)

    def whole(self, frames: int) -> int:
        """How many frames the model draws for so many."""
        return padded_frames(frames, self.group)

    # -- onto it ------------------------------------------------------------------------------------------------------

    def filled(self, clip: Clip) -> np.ndarray:
        """The clip's frames as the result would show them, uint8 (T, height, width, 3) at `fps`: overhang is cut.

        A clip of this size and rate stays bit for bit.
        """
        return cover(clip.frames[moments(clip, self.fps)], self.height, self.width)

    def region(self, mask_THW: np.ndarray, clip: Clip) -> np.ndarray:
        """A mask over the clip's frames, bool -> over those of `filled`."""
        return cover_mask(mask_THW[moments(clip, self.fps)], self.height, self.width)

    def shown(self, clip: Clip) -> Tensor:
        """All of the clip on the canvas, whatever its aspect, as a reference is: uint8 (T, *size, 3)."""
        return self.drawn(contain(clip.frames[moments(clip, self.fps)], self.height, self.width))

    def drawn(self, frames_THWC: np.ndarray) -> Tensor:
        """Frames of the result -> of what the model draws: edges repeated outwards, the last frame to the end."""
        frames = pad_to_canvas(frames_THWC, *self.size)
        missing = self.whole(len(frames)) - len(frames)
        return torch.from_numpy(np.pad(frames, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge"))

    def kept(self, keep_THW: np.ndarray) -> Tensor:
        """Which pixels of the result are kept -> of what the model draws, bool: what repeats a pixel is as it is."""
        padded_THW1 = pad_to_canvas(keep_THW[..., None], *self.size)
        missing = self.whole(len(keep_THW)) - len(keep_THW)
        return torch.from_numpy(np.pad(padded_THW1[..., 0], ((0, missing), (0, 0), (0, 0)), mode="edge"))

    # -- back from it -------------------------------------------------------------------------------------------------

    def cut(self, drawn_THWC: Tensor, frames: int) -> np.ndarray:
        """The result, of what the model drew."""
        return centre_crop(drawn_THWC[:frames], self.height, self.width).cpu().contiguous().numpy()
