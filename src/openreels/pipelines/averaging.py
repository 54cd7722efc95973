"""A model between two: what training on new things has won, and what it has cost, in one average of weights.

Weights that were trained on from others lie near enough to them for every point on the straight line between to be a
model too, and one in the middle often does what either end does (Wortsman et al. 2022, WiSE-FT).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from openreels.media.folders import new_folder
from openreels.models.layout import shared_weights
from openreels.pipelines.v4 import SkyReelsV4Pipeline

__all__ = ["average"]


@torch.no_grad()
def average(
    start: Path, trained: Path, folder: Path, shares: Mapping[str, float], dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a whole model into a new folder.

    start, trained: whole models, the second trained on from the first. shares: component -> how far to go from start,
    0, to trained, 1; components that are not named are those of `trained`, and so is a layout embedding that it alone
    has. dtype: of all weights that are written.
    Raises ValueError where the two are of different parts or sizes, where a planner would read a text encoder that it
    does not know, or where `folder` holds something.
    """
    before, after = (SkyReelsV4Pipeline.from_pretrained(each, dtype=torch.float32) for each in (start, trained))
    if after.planner is not None and shares.get("text_encoder", 1.0) != 1.0:
        raise ValueError(f"the planner of {trained} has learnt to read its text_encoder as it is: average that first")
    for name, share in shares.items():
        if getattr(before, name) is None or getattr(after, name) is None:
            raise ValueError(f"only one of {start} and {trained} has a {name}")
        old, new = (dict(getattr(model, name).named_parameters()) for model in (before, after))
        try:
            shared = shared_weights(*({key: p.shape for key, p in each.items()} for each in (old, new)))
        except ValueError as error:
            raise ValueError(f"{name} of {start} and of {trained} do not fit: {error}") from error
        for key in shared:
            new[key].copy_(old[key] + share * (new[key] - old[key]))
    for component in after.components.values():
        if isinstance(component, torch.nn.Module):
            for parameter in component.parameters():
                parameter.data = parameter.data.to(dtype)
    with new_folder(folder) as part:
        after.save_pretrained(part, max_shard_size="16MB")
