"""The reader: it looks at latents of a picture or a clip and says where everything is; of a sound, when it happens.

The way back from a layout: what a planner must know of the pictures and clips that a prompt refers to (a recoloured box
bounces as it did, a subject is the one of its portrait) is in their layouts. Supervised, for the world knows them.

Legend: B batch, S subjects, F latent frames, K numbers of a layout, N video tokens, A audio tokens, C channels, D
width, Q tokens of subjects and of the picture, M moments of a latent frame, E tokens around a mouth.
"""

from __future__ import annotations

from math import pi

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from openreels.models.layout import (
    CLASSES,
    MOMENTS,
    MOUTH,
    PLACE,
    RADIUS,
    THERE,
    TOUCH,
    X,
    Y,
    layout_numbers,
    left_to_right,
    places,
    settled,
    units,
)
from openreels.types import VideoShape

__all__ = ["LayoutReader"]

EAR_WIDTH, EYE_WIDTH = 32, 64
CHIN = 0.45  # of a face's radius, how far below its middle its mouth is
TIME_OCTAVES = 6  # of latent frames: waves of 2 to 64
REACH = 1  # latent frames on either side of its own that a token sees


class LayoutReader(ModelMixin, ConfigMixin):
    """Latents (B, N, C) -> layouts (B, S, F, K): a transformer over their tokens, and one token for each subject in
    each latent frame, which leaves as its numbers there. How wide mouths open is then looked up where they are, for of
    that tokens so far apart tell nothing. Of sounds, a few convolutions hear mouths and touches.

    Where something is in a frame is to be seen in that frame and the next ones: tokens see no further, but for those of
    subjects, which agree with each other who they are. (Where all saw all, clips were read three times less exactly
    than stills; docs/log.md.)

    channels, sound_channels: C of the two streams. classes: how many there are of every sort. subjects, frames: at most
    so many are read, latent ones.
    """

    @register_to_config
    def __init__(
        self,
        channels: int,
        sound_channels: int,
        classes: tuple[int, ...],
        subjects: int = 2,
        frames: int = 17,
        width: int = 80,
        num_heads: int = 5,
        num_layers: int = 4,
    ):
        super().__init__()
        self.embed = nn.Linear(channels + PLACE + 2 * TIME_OCTAVES, width)
        # What is heard is heard when it happens: nothing to look for, so a few taps in time are enough.
        self.ears = nn.Sequential(
            nn.Conv1d(sound_channels, EAR_WIDTH, 5, padding=2),
            nn.SiLU(),
            nn.Conv1d(EAR_WIDTH, EAR_WIDTH, 5, padding=2),
            nn.SiLU(),
            nn.Conv1d(EAR_WIDTH, 2, 5, padding=2),
        )
        around = 4 * (channels + 1) + 3 + sum(classes)
        self.eyes = nn.Sequential(
            nn.Linear(around, EYE_WIDTH),
            nn.SiLU(),
            nn.Linear(EYE_WIDTH, EYE_WIDTH),
            nn.SiLU(),
            nn.Linear(EYE_WIDTH, MOMENTS),
        )
        self.embed_subject = nn.Parameter(torch.randn(subjects, width) * 0.5)
        self.embed_frame = nn.Linear(2 * TIME_OCTAVES, width)
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.leave = nn.Linear(width, layout_numbers(classes))
        middle_K, scale_K = units(classes)
        self.register_buffer("middle_K", middle_K, persistent=False)
        self.register_buffer("scale_K", scale_K, persistent=False)

    def forward(self, latents_BNC: Tensor, shape: VideoShape) -> Tensor:
        """Normalised layouts, whose subjects stand in no order. shape: of the picture or clip. Raises ValueError for
        more latent frames than can be read."""
        frames, most = shape.latent_frames, self.config.frames
        if frames > most:
            raise ValueError(f"layouts are read of up to {most} latent frames, not {frames}")
        place_FYXK = places(shape, latents_BNC.device)
        time_FW = _time_waves(torch.arange(frames, device=latents_BNC.device))
        time_FYXW = time_FW[:, None, None].expand(*place_FYXK.shape[:3], -1)
        where_NK = torch.cat([place_FYXK, time_FYXW], dim=-1).flatten(0, 2)
        seen_BNK = torch.cat([latents_BNC, where_NK.expand(len(latents_BNC), -1, -1)], dim=-1)
        asked_ND = (self.embed_subject[:, None] + self.embed_frame(time_FW.to(self.dtype))).flatten(0, 1)
        x = torch.cat([asked_ND.expand(len(seen_BNK), -1, -1), self.embed(seen_BNK.to(self.dtype))], dim=1)
        hidden_QQ = _hidden(len(self.embed_subject), frames, len(where_NK) // frames, x.device)
        return self.leave(self.layers(x, hidden_QQ)[:, : len(asked_ND)]).unflatten(1, (-1, frames))

    def forward_sound(self, latents_BAC: Tensor, frames: int) -> Tensor:
        """Opening of a mouth, and touch, that are heard at the moments of so many latent frames, (B, F, 2 moments)."""
        tokens, moments = latents_BAC.shape[1], MOMENTS * (frames - 1) + 1
        heard_B2A = self.ears(latents_BAC.to(self.dtype).mT)
        moment_T = torch.arange(moments, device=latents_BAC.device)
        nearest_T = ((moment_T + 0.5) * tokens / moments - 0.5).round().long().clamp(0, tokens - 1)
        heard_B2T = heard_B2A[..., nearest_T]
        # The first latent frame is a single one.
        whole_B2T = torch.cat([heard_B2T[..., :1].expand(-1, -1, MOMENTS - 1), heard_B2T], -1)
        return whole_B2T.unflatten(2, (frames, -1)).transpose(1, 2).flatten(2)

    def forward_mouths(self, latents_BNC: Tensor, layout_BSFK: Tensor, shape: VideoShape) -> Tensor:
        """How wide the mouths of subjects open who are where a layout says, (B, S, F, M)."""
        short = min(shape.height, shape.width)
        rows, columns = shape.latent_height, shape.latent_width
        token = shape.height / rows / short
        # The four tokens around each mouth: those above and left of it, and the next ones.
        row_BSF = (layout_BSFK[..., Y].mean(-1) + CHIN * layout_BSFK[..., RADIUS]) / token + rows / 2 - 0.5
        column_BSF = layout_BSFK[..., X].mean(-1) / token + columns / 2 - 0.5
        corner_BSF2 = torch.stack([row_BSF.floor(), column_BSF.floor()], -1)
        steps_E2 = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], device=latents_BNC.device)
        at_BSFE2 = corner_BSF2[..., None, :].long() + steps_E2
        is_seen_BSFE = (at_BSFE2 >= 0).all(-1) & (at_BSFE2[..., 0] < rows) & (at_BSFE2[..., 1] < columns)
        frame_F11 = torch.arange(shape.latent_frames, device=latents_BNC.device)[:, None]
        index_BSFE = (frame_F11 * rows + at_BSFE2[..., 0].clamp(0, rows - 1)) * columns
        index_BSFE = index_BSFE + at_BSFE2[..., 1].clamp(0, columns - 1)
        clip_B111 = torch.arange(len(latents_BNC), device=latents_BNC.device)[:, None, None, None]
        seen_BSFEC = latents_BNC[clip_B111, index_BSFE] * is_seen_BSFE[..., None]
        away_BSF2 = torch.stack([row_BSF, column_BSF], -1) - corner_BSF2
        known = [is_seen_BSFE, away_BSF2, layout_BSFK[..., RADIUS, None] / token, layout_BSFK[..., CLASSES:]]
        return self.eyes(torch.cat([seen_BSFEC.flatten(-2), *known], dim=-1).to(self.dtype))

    def normalised(self, layout_BSFK: Tensor) -> Tensor:
        """Of about unit variance, (B, S, F, K)."""
        return (layout_BSFK - self.middle_K) * self.scale_K

    def nobody(self, batch: int, frames: int) -> Tensor:
        """Layouts (B, S, F, K) in which nobody is there, on the CPU."""
        return torch.zeros(batch, len(self.embed_subject), frames, len(self.scale_K))

    @apply_forward_hook  # offloading moves the weights
    @torch.no_grad()
    def read(self, latents_BNC: Tensor, shape: VideoShape) -> Tensor:
        """Layouts (B, S, F, K), settled, subjects from left to right; on the CPU. Without touches: these are too short
        for a latent frame to show, and follow from the ways. Raises ValueError as above."""
        found_BSFK = self(latents_BNC, shape).float().cpu()
        found_BSFK = found_BSFK / self.scale_K.float().cpu() + self.middle_K.float().cpu()
        found_BSFK[..., TOUCH] = 0.0
        found_BSFK = settled(found_BSFK, self.config.classes)
        mouths_BSFM = self.forward_mouths(latents_BNC, found_BSFK.to(latents_BNC.device), shape).float().cpu()
        found_BSFK[..., MOUTH] = mouths_BSFM.clamp(0.0, 1.0)
        return left_to_right(found_BSFK)

    @apply_forward_hook
    @torch.no_grad()
    def hear(self, latents_BAC: Tensor, frames: int) -> Tensor:
        """Layouts (B, S, F, K) of what is heard: mouths and touches, of somebody; on the CPU. Raises ValueError as
        above."""
        if frames > self.config.frames:
            raise ValueError(f"layouts are read of up to {self.config.frames} latent frames, not {frames}")
        heard_BFM = self.forward_sound(latents_BAC, frames).float().cpu().clamp(0.0, 1.0)
        layout_BSFK = self.nobody(len(heard_BFM), frames)
        layout_BSFK[:, 0, :, MOUTH.start : TOUCH.stop], layout_BSFK[:, 0, :, THERE] = heard_BFM, 1.0
        return layout_BSFK


def _hidden(subjects: int, frames: int, each: int, device: torch.device) -> Tensor:
    """(Q, Q), True where the token of a row does not see that of a column. First the tokens of subjects, subject by
    subject, then so many of each frame's picture."""
    frame_F = torch.arange(frames, device=device)
    frame_Q = torch.cat([frame_F.repeat(subjects), frame_F.repeat_interleave(each)])
    hidden_QQ = (frame_Q[:, None] - frame_Q).abs() > REACH
    hidden_QQ[: subjects * frames, : subjects * frames] = False
    return hidden_QQ


def _time_waves(time_N: Tensor) -> Tensor:
    """(N, W) of times in latent frames."""
    phase_NW = pi * time_N.float()[:, None] / 2.0 ** torch.arange(TIME_OCTAVES, device=time_N.device)
    return torch.cat([phase_NW.sin(), phase_NW.cos()], dim=-1)
