"""Which of several films a clip shows: the one whose pictures it is nearest to.

No learned judge: the alternatives are drawn exactly, and differ only in the thing asked about. Pixels in which two
films agree count for neither, so what is compared is that thing alone, whatever else the clip got wrong.

Legend: T frames  H, W pixels  C = 3 channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from openreels.evaluation.tasks.alternatives import alternatives
from openreels.media import Clip
from openreels.world import Film, film_frames

__all__ = ["LIKE", "ExactPair", "frames_of"]

SAME = 6.0  # levels of 255 within which two films show the same in a pixel
LEAST_REST = 0.1  # share of the pixels that a pair must have in common to be judged by them
SPREAD = 5  # pixels (of 2 x 2) round a change that a codec may change with it
LIKE = 30.0  # root mean square in levels of 255 up to which the rest of a picture is as it should be
FLAKES = 8  # pixels averaged where drops or flakes fall: no prompt says where each of them is
FLICKER = 0.5  # weight of how much such a spot changes from frame to frame, beside how bright it is: codecs lose drops


def frames_of(film: Film, like: Clip) -> Tensor:
    """The film as it would look in a clip of this size and rate, uint8 (T, H, W, 3); held at its end if shorter."""
    count, height, width, _ = like.frames.shape
    frames_THWC = film_frames(film, fps=float(like.fps), height=height, width=width, last=count)
    return torch.cat([frames_THWC, frames_THWC[-1:].expand(count - len(frames_THWC), -1, -1, -1)])


def _calm(frames_THWC: Tensor) -> Tensor:
    """Averages over 2 x 2 pixels, (T, C, H / 2, W / 2): a codec's grain is no difference."""
    return avg_pool2d(frames_THWC.permute(0, 3, 1, 2).float(), 2)


def _weathered(frames_THWC: Tensor) -> Tensor:
    """Brightness of larger spots, and as a last picture how they flicker, (T + 1, C, H / 8, W / 8).

    The same for the same weather, wherever each drop falls.
    """
    frames_TCHW = frames_THWC.permute(0, 3, 1, 2).float()
    flicker = (frames_TCHW[1:] - frames_TCHW[:-1]).abs().mean(0, keepdim=True)
    weight = (FLICKER * len(frames_TCHW)) ** 0.5
    return torch.cat([avg_pool2d(frames_TCHW, FLAKES), weight * avg_pool2d(flicker, FLAKES)])


class ExactPair:
    """A source and a target that differ in one thing, drawn once with all alternatives, to judge several clips by.

    like: a clip of the size, rate and length of those that are judged.
    """

    def __init__(self, source: Film, target: Film, like: Clip) -> None:
        self.options = alternatives(source, target)
        self._falls = any(option.label.startswith("weather") for option in self.options)
        self._view = _weathered if self._falls else _calm
        self._views = [self._view(frames_of(option.film, like)) for option in self.options]

    def judge(self, clip: Clip) -> dict[str, bool]:
        """changed: nearest to the target, or to another film that shows what was asked. kept: what source and target
        have in common is as it was (within `LIKE`), which is everything where an edit leaves nothing as it was."""
        seen = self._view(torch.from_numpy(clip.frames))
        errors = [float((seen - view).square().mean()) for view in self._views]
        best = int(np.argmin(errors))
        rest = self._distance_to_rest(seen, best if self.options[best].right else 0)
        return {"changed": self.options[best].right, "kept": rest <= LIKE}

    def _distance_to_rest(self, seen: Tensor, right: int) -> float:
        """Root mean square difference, levels of 255, to one of the right films where it is as its source."""
        after, before = self._views[right], self._views[1]
        if self._falls:
            seen, after, before = seen[:-1], after[:-1], before[:-1]
        changed = ((before - after).abs().amax(1, keepdim=True) > SAME).float()
        rest = max_pool2d(changed, SPREAD, 1, SPREAD // 2) < 0.5
        error = (seen - after).square().mean(1, keepdim=True)
        return float((error[rest] if rest.float().mean() >= LEAST_REST else error).mean().sqrt())
