"""What happens to the picture of a scene once its things are drawn: weather, light, style, effect, overlay, in turn.

Legend: T frames  H, W pixels  C = 3 channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openreels.world.overlays import burn_in
from openreels.world.screen import Screen
from openreels.world.script import Scene
from openreels.world.styles import draw_in_style, light, unfold
from openreels.world.weather import precipitate

__all__ = ["finish", "is_finished"]


def is_finished(scene: Scene) -> bool:
    """True where `finish` would change nothing."""
    touched = scene.effect is not None or scene.overlay is not None
    return not touched and (scene.weather, scene.style, scene.tone) == ("clear", "plain", "natural")


def finish(frames_THWC: Tensor, scene: Scene, times_T: np.ndarray, screen: Screen) -> Tensor:
    """The finished picture, uint8 as it came. times_T: seconds of the scene."""
    planes = frames_THWC.permute(3, 0, 1, 2).contiguous().float()
    if scene.weather != "clear":
        planes = precipitate(planes, scene.weather, times_T, scene.variant, screen)
    if scene.tone != "natural":
        planes = light(planes, scene.tone)
    if scene.style != "plain":
        planes = draw_in_style(planes, scene.style, screen)
    if scene.effect is not None:
        planes = unfold(planes, scene.effect, times_T, scene.duration, screen)
    if scene.overlay is not None:
        planes = burn_in(planes, scene.overlay, screen)
    return planes.clamp_(0.0, 255.0).round_().to(torch.uint8).permute(1, 2, 3, 0)
