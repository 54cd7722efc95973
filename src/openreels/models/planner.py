"""The planner: it reads a prompt, sees what things in given pictures do, and says where everything will be.

Legend: B batch, P prompts, S subjects, F latent frames, K numbers of a layout, D width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, pi

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from openreels.models.layout import quantities, settled, units
from openreels.models.mentions import SAID, Mentions
from openreels.nn.linear import ZeroLinear
from openreels.nn.modulation import TimeEmbedding
from openreels.types import Context

__all__ = ["LayoutPlanner"]

PULL = 0.7  # of evidence, at the first step of planning; normalised units
TEXT_OCTAVES = 9  # of places in a prompt: waves of 2 to 512 tokens
TIME_FREQUENCIES = 64
LOOKS = 2  # of what is read at itself: at the words around a name, then from the picture at who is named so
SHOWN = 6  # pictures and clips that are told apart by their number; further ones share the last


class Relating(nn.Module):
    """Tokens (B, L, D) look at each other, `LOOKS` times by the same attention; nothing comes of it at first."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """mask_BL: bool, True where a token is real."""
        for _ in range(LOOKS):
            at_BLD = self.norm(x_BLD)
            x_BLD = x_BLD + self.attention(at_BLD, at_BLD, at_BLD, key_padding_mask=~mask_BL, need_weights=False)[0]
        return x_BLD


class LayoutPlanner(ModelMixin, ConfigMixin):
    """Layouts of a prompt: flow matching over their numbers, by a transformer that reads the prompt's hidden states and
    the layouts of what is shown: references in their order, then the clip itself, as far as it is known (edited, given
    whole, begun, heard). This it follows, and references that are clips as long as itself.

    A token is one quantity of one subject over the whole clip (all of its x, say), see `layout.quantities`.

    text_dim: of the context. classes: how many there are of every sort.
    subjects, frames: at most so many are planned, latent ones. reads: fingerprint of the text encoder whose hidden
    states it has learnt to read; None: of any. brief_numbers: of `Context.brief_BK`; 0: it is not told.
    """

    @register_to_config
    def __init__(
        self,
        text_dim: int,
        classes: tuple[int, ...],
        subjects: int = 2,
        frames: int = 17,
        width: int = 160,
        num_heads: int = 5,
        num_layers: int = 4,
        brief_numbers: int = 0,
        reads: str | None = None,
    ):
        super().__init__()
        self.quantities = quantities(classes)
        sizes = [frames * (part.stop - part.start) for part in self.quantities]
        self.embed = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.embed_token = nn.Parameter(torch.randn(subjects, len(sizes), width) * 0.02)
        self.embed_shown = nn.Parameter(torch.randn(SHOWN, width) * 0.02)
        self.embed_canvas = nn.Linear(2, width)
        self.embed_time = TimeEmbedding(width, TIME_FREQUENCIES)
        self.follow = ZeroLinear(width, width)
        self.embed_text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, width))
        self.embed_place = ZeroLinear(2 * TEXT_OCTAVES, width)
        self.embed_brief = ZeroLinear(brief_numbers, width) if brief_numbers else None
        self.mentions, self.embed_said = Mentions(text_dim), ZeroLinear(SAID, width)
        self.relate = Relating(width, num_heads)
        layer = nn.TransformerDecoderLayer(
            width, num_heads, 12 * width // 5, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, num_layers, nn.LayerNorm(width))
        self.leave = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        middle_K, scale_K = units(classes)
        self.register_buffer("middle_K", middle_K, persistent=False)
        self.register_buffer("scale_K", scale_K, persistent=False)

    def normalised(self, layout_BSFK: Tensor) -> Tensor:
        """Of about unit variance, (B, S, F, K)."""
        return (layout_BSFK - self.middle_K) * self.scale_K

    def forward(
        self,
        noisy_BSFK: Tensor,
        time_B: Tensor,
        aspect: float,
        context: Context,
        shown: Sequence[Tensor] = (),
        followed: int = 0,
    ) -> Tensor:
        """The normalised layout that the noisy one, at time t, is seen to end at. aspect: width / height.

        context: of B prompts; or of P fewer, each of which goes with as many noisy layouts, one after the other. shown:
        layouts (P, S, F', K) of each picture or clip in turn. followed: how many of these, the last ones, are of the
        clip itself, or as long as it: whose numbers are those of the same subjects at the same times, unless the prompt
        says otherwise.
        Raises ValueError for more latent frames than can be planned.
        """
        frames, most = noisy_BSFK.shape[2], self.config.frames
        if frames > most:
            raise ValueError(f"layouts are planned for up to {most} latent frames, not {frames}")
        canvas = torch.tensor([log(aspect), frames / most], device=noisy_BSFK.device, dtype=noisy_BSFK.dtype)
        told_BD = self.embed_time(time_B) + self.embed_canvas(canvas)
        copies = len(noisy_BSFK) // len(context.hidden_BLD)
        if self.embed_brief is not None and context.brief_BK is not None:
            told_BD = told_BD + self.embed_brief(context.brief_BK.to(told_BD.dtype)).repeat_interleave(copies, 0)
        x = self._tokens(noisy_BSFK) + told_BD[:, None, None]
        seen = [self._tokens(self.normalised(layout_PSFK.to(x.device)).to(x.dtype)) for layout_PSFK in shown]
        for tokens_PSQD in seen[len(seen) - followed :]:
            x = x + self.follow(tokens_PSQD).repeat_interleave(copies, 0)
        x = x.flatten(1, 2)
        # Layouts of one prompt stand side by side and do not see each other: it is read once for all.
        number = torch.arange(copies, device=x.device).repeat_interleave(x.shape[1])
        memory_PLD, mask_PL = self._read(context, seen, _names(shown))
        x = self.layers(
            x.unflatten(0, (-1, copies)).flatten(1, 2),
            memory_PLD.to(x.dtype),
            tgt_mask=None if copies == 1 else number[:, None] != number,
            memory_key_padding_mask=~mask_PL,
        )
        x = x.unflatten(1, (copies, *noisy_BSFK.shape[1:2], len(self.quantities))).flatten(0, 1).unbind(2)
        out = [leave(each).unflatten(2, (most, -1)) for leave, each in zip(self.leave, x, strict=True)]
        return torch.cat(out, dim=-1)[:, :, :frames]

    def _tokens(self, normalised_BSFK: Tensor) -> Tensor:
        """(B, S, quantities, D)."""
        missing = self.config.frames - normalised_BSFK.shape[2]
        whole_BSFK = nn.functional.pad(normalised_BSFK, (0, 0, 0, missing))
        parts = zip(self.embed, self.quantities, strict=True)
        return torch.stack([embed(whole_BSFK[..., part].flatten(2)) for embed, part in parts], 2) + self.embed_token

    def _read(self, context: Context, seen: Sequence[Tensor], names: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The prompt's tokens (P, L, D) and where they stand, for of two things it is said in turn how they look; then
        those of what is shown, (P, S, quantities, D) each, of what the prompt names so, and what it says of that; all
        related to each other. And where all these are, (P, L), bool."""
        text_BLD = self.embed_text(context.hidden_BLD.to(self.dtype))
        place_L = torch.arange(text_BLD.shape[1], device=text_BLD.device, dtype=torch.float32)
        phase_LW = pi * place_L[:, None] / 2.0 ** torch.arange(TEXT_OCTAVES, device=text_BLD.device)
        parts = [text_BLD + self.embed_place(torch.cat([phase_LW.sin(), phase_LW.cos()], -1).to(self.dtype))]
        said_PRD = self.embed_said(self.mentions(context, names))
        for number, (tokens_PSQD, said_PD) in enumerate(zip(seen, said_PRD.unbind(1), strict=True)):
            told_PD = said_PD.to(tokens_PSQD.dtype) + self.embed_shown[min(number, SHOWN - 1)]
            parts.append((tokens_PSQD + told_PD[:, None, None]).flatten(1, 2))
        memory_PLD = torch.cat(parts, dim=1)
        more = memory_PLD.shape[1] - text_BLD.shape[1]
        mask_PL = nn.functional.pad(context.mask_BL, (0, more), value=True)
        return self.relate(memory_PLD, mask_PL), mask_PL

    @apply_forward_hook  # offloading moves the weights
    @torch.no_grad()
    def plan(
        self,
        context: Context,
        negative: Context,
        frames: int,
        aspect: float,
        generators: Sequence[torch.Generator],
        steps: int = 24,
        guidance: float = 1.5,
        shown: Sequence[Tensor] = (),
        followed: int = 0,
        evidence: Callable[[Tensor], Tensor] | None = None,
        candidates: int = 16,
    ) -> Tensor:
        """Layouts (B, S, F, K) of the prompts, settled; on the CPU.

        negative: of what the plans shall be pushed away from, with the scale `guidance`. frames: latent ones.
        generators: one each, on the CPU. steps: of Euler. shown, followed: layouts (B, S, F', K), see
        `forward`. evidence: how likely a layout is, besides (its logarithm, see `models/evidence.py`); then as many
        candidates as told are drawn to what is likely, and the best is taken. Raises ValueError for too many frames.
        """
        copies = 1 if evidence is None else candidates
        size, device = (copies, self.config.subjects, frames, len(self.scale_K)), context.hidden_BLD.device
        x = torch.cat([torch.randn(size, generator=each) for each in generators]).to(device, self.dtype)
        for step in range(steps):
            time_B = torch.full((len(x),), step / steps, device=device)
            found = self(x, time_B, aspect, context, shown, followed)
            found = found + (guidance - 1) * (found - self(x, time_B, aspect, negative, shown, followed))
            if evidence is not None and step >= steps // 12:  # before, what is found is nothing but a mean
                found = found + PULL * (1 - step / steps) * self._uphill(evidence, found)
            x = x + (found - x) / (steps - step)
        # Who is there and what is a matter of thresholds: so decided in one place, on any device.
        layout_BSFK = x.float().cpu() / self.scale_K.float().cpu() + self.middle_K.float().cpu()
        layout_BSFK = settled(layout_BSFK, self.config.classes)
        if evidence is None:
            return layout_BSFK
        best_B = evidence(layout_BSFK).view(-1, copies).argmax(1)
        return layout_BSFK.unflatten(0, (-1, copies))[torch.arange(len(best_B)), best_B]

    @torch.enable_grad()
    def _uphill(self, evidence: Callable[[Tensor], Tensor], found_BSFK: Tensor) -> Tensor:
        """The direction, of length 1, in which normalised layouts become likelier most."""
        found_BSFK = found_BSFK.detach().float().requires_grad_()
        likely_B = evidence(found_BSFK / self.scale_K.float() + self.middle_K.float())
        (slope_BSFK,) = torch.autograd.grad(likely_B.sum(), found_BSFK)
        return nn.functional.normalize(slope_BSFK.flatten(1), dim=1).view_as(slope_BSFK).to(self.dtype)


def _names(shown: Sequence[Tensor]) -> list[int]:
    """How prompts name what is shown, see `Context.named_BL`: pictures and clips, whose layouts (P, S, F', K) these
    are, are counted apart."""
    names, pictures, clips = [], 0, 0
    for layout_PSFK in shown:
        is_still = layout_PSFK.shape[2] == 1
        pictures, clips = pictures + is_still, clips + (not is_still)
        names.append(pictures if is_still else -clips)
    return names
