"""The image encoder of the V3 avatar: the image tower of open-clip's XLM-R-large / ViT-H as a `CLIPVisionModel`.

Source: spec/v3.md 6.2: square bicubic resize without antialiasing (the aspect is not kept), all tokens after the last
block but one, no final norm.

Legend: B batch, I tokens (257 at full size), D width (1280).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import CLIPVisionModel

__all__ = ["ClipImageEncoder"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class ClipImageEncoder:
    """Pictures -> CLIP tokens. The model runs where and in what precision it is: released, trained and loaded in
    float16, whatever the transformer has, which takes the tokens in its own."""

    def __init__(self, model: CLIPVisionModel):
        self.model = model

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, I, D) in the model's dtype."""
        side = self.model.config.image_size
        image = image.to(self.model.device, torch.float32)
        image = torch.nn.functional.interpolate(image, (side, side), mode="bicubic", align_corners=False) * 0.5 + 0.5
        mean, std = (image.new_tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
        pixels = ((image - mean) / std).to(self.model.dtype)
        return self.model(pixels, output_hidden_states=True).hidden_states[-2]
