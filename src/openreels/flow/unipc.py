"""The schedules of SkyReels-V3: UniPC for references and extension, Euler steps for the avatar.

The library's UniPC changed its default sigmas between versions (other timesteps, trajectories 1e-2 apart), so they are
given to it explicitly; tests pin both schedules to the official ones.

Source: spec/v3.md 3.3 and 6.4. Here t and sigma count noise: 1000 and 1 are pure noise, as in the open models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import UniPCMultistepScheduler

__all__ = ["euler_times", "unipc"]


def unipc(num_inference_steps: int, shift: float, device: torch.device | str | None = None) -> UniPCMultistepScheduler:
    """A fresh UniPC solver (order 2, bh2, predicts x0) on the official grid, ready to step.

    Its `timesteps` are 1000 sigma cut to integers; `step(velocity, t, latents)` expects float32. shift: how much of the
    way is spent near pure noise (official: 8 for extension, 5 for references).
    """
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        num_train_timesteps=1000,
        solver_order=2,
        solver_type="bh2",
        predict_x0=True,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(sigmas=np.linspace(0.999, 0, num_inference_steps + 1)[:-1], device=device)
    return scheduler


def euler_times(num_inference_steps: int, shift: float) -> Tensor:
    """(steps + 1,) float32: the times of the avatar's Euler steps from 1000 down to 0, not cut to integers.

    A step is x - v (t_i - t_{i+1}) / 1000. Official: 4 steps, shift 11 -> 1000, 956.6, 846.5, 10.9, 0.
    """
    times = torch.from_numpy(np.linspace(1000, 1, num_inference_steps, dtype=np.float32))
    part = torch.cat([times, times.new_zeros(1)]) / 1000
    return shift * part / (1 + (shift - 1) * part) * 1000
