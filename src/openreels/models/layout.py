"""Where things are in a clip before any of it is drawn: layouts, and the planner that makes one of a prompt.

A model of ten million parameters that draws a jump from noise puts the thing at a likely place in every moment, and
moments that lie side by side do not agree on it (docs/log.md). So the pocket model first says where everything goes,
subject by subject, in a few hundred numbers, and then draws what it said: dynamic scene layouts as an intermediate, as
in "LLM-grounded Video Diffusion Models" (Lian et al., 2024), with a planner that is learned too. An addition to the
paper's model, which has none; a transformer without a layout embedding is the paper's.

A layout holds `layout_numbers` for each subject in each latent frame. At four moments of it: x and y of the subject's
middle (short sides of the picture, from its middle, y down), cosine and sine of its turn, how wide its mouth opens
(0..1), whether it touches something (0..1). Then whether it is there (0 or 1), its radius (short sides), and its
classes (one 1 each): what kind of thing, which colour.

Legend: B batch, S subjects, F latent frames, M moments of one, Y X rows and columns, K numbers, W waves, N video
tokens, A audio tokens, O frames around one, T frames, D width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log, pi

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from openreels.nn.linear import ZeroLinear
from openreels.nn.modulation import TimeEmbedding
from openreels.types import Context, VideoShape

__all__ = [
    "CLASSES",
    "LAYOUT_PARTS",
    "MOMENTS",
    "MOUTH",
    "RADIUS",
    "THERE",
    "TOUCH",
    "TURN",
    "LayoutEmbedding",
    "LayoutPlanner",
    "Waves",
    "heard_layout",
    "heard_numbers",
    "layout_numbers",
    "seen_layout",
    "seen_numbers",
    "shared_weights",
    "waved_numbers",
]

MOMENTS = 4  # the frames of a latent frame; of the first one, which has a single frame, that one four times
X, Y, TURN, MOUTH, TOUCH = (
    slice(0, 4), slice(4, 8), slice(8, 16), slice(16, 20), slice(20, 24)
)  # fmt: skip
WAYS = 2 * MOMENTS  # the numbers that are places, and to a token ways there
THERE, RADIUS, CLASSES = 24, 25, 26
PULL = 0.7  # of evidence, at the first step of planning; normalised units
FAR = 4.0  # tokens; whatever is further away is so far
PLACE = 5  # numbers that say which token of which canvas it is
TEXT_OCTAVES = 9  # of places in a prompt: waves of 2 to 512 tokens
NEARBY = range(-8, 3)  # frames that an audio token hears of, from its own: what rings was struck before
# Parts of a tower that only a model with layouts has.
LAYOUT_PARTS = (".embed_layout.", ".sketch.", ".embed_sketch.", ".trust_sketch.")


def layout_numbers(classes: Sequence[int]) -> int:
    """Of each subject in each latent frame. classes: how many there are of every sort."""
    return CLASSES + sum(classes)


def seen_numbers(classes: Sequence[int]) -> int:
    """Of each video token, see `seen_layout`."""
    return layout_numbers(classes) + PLACE


def waved_numbers(classes: Sequence[int]) -> list[int]:
    """Which numbers of a video token are ways and places: a matter of pixels, so their sines are told too."""
    first = layout_numbers(classes)
    return [*range(WAYS), first, first + 1]


def heard_numbers(classes: Sequence[int]) -> int:
    """Of each audio token, see `heard_layout`."""
    return 2 * len(NEARBY) + sum(classes)


def shared_weights(theirs: Mapping[str, Sequence[int]], ours: Mapping[str, Sequence[int]]) -> list[str]:
    """Names of the weights that two transformers share, of which one may have a layout embedding and the other none.

    theirs, ours: shapes by name. Raises ValueError where they differ otherwise.
    """
    names = [name for name in theirs if name in ours]
    other = [name for name in {*theirs} ^ {*ours} if not any(part in name for part in LAYOUT_PARTS)]
    other += [name for name in names if tuple(theirs[name]) != tuple(ours[name])]
    if other:
        raise ValueError(f"{min(other)} is not the same in both models ({len(other)} differences)")
    return names


def seen_layout(layout_BSFK: Tensor, shape: VideoShape) -> Tensor:
    """What every video token is told, (B, N, K' + 1): the numbers of the subject nearest to it, whose places are ways
    there from the token's middle, in tokens; zeros where nobody is. Then where the token is: column and row (shares of
    half the canvas, -1..1), width and height of the canvas (short sides), 1 in the first frame, which is a single one.
    Last a 1: it is told."""
    token = shape.height / shape.latent_height / min(shape.height, shape.width)
    sizes = shape.latent_height, shape.latent_width
    row_Y, column_X = ((torch.arange(n, device=layout_BSFK.device) + 0.5 - n / 2) * token for n in sizes)
    each_BSFYXK = layout_BSFK[:, :, :, None, None].expand(-1, -1, -1, *sizes, -1)
    right_BSFYXM = (each_BSFYXK[..., X] - column_X[:, None]) / token
    down_BSFYXM = (each_BSFYXK[..., Y] - row_Y[:, None, None]) / token
    distance_BSFYX = torch.hypot(right_BSFYXM.mean(-1), down_BSFYXM.mean(-1))
    beyond_BSFYX = (distance_BSFYX - each_BSFYXK[..., RADIUS] / token).where(each_BSFYXK[..., THERE] > 0.5, torch.inf)
    ways = [way_BSFYXM.clamp(-FAR, FAR) for way_BSFYXM in (right_BSFYXM, down_BSFYXM)]
    told_BFYXK = _of_one(torch.cat([*ways, each_BSFYXK[..., WAYS:]], dim=-1), beyond_BSFYX.argmin(1))
    told_BFYXK = told_BFYXK * (told_BFYXK[..., THERE, None] > 0.5)
    place_BFYXK = _places(shape, column_X, row_Y, token).expand(len(layout_BSFK), -1, -1, -1, -1)
    return _marked(torch.cat([told_BFYXK, place_BFYXK], dim=-1).flatten(1, 3))


def _places(shape: VideoShape, column_X: Tensor, row_Y: Tensor, token: float) -> Tensor:
    """Where every token is, (F, Y, X, `PLACE`)."""
    sizes = shape.latent_frames, shape.latent_height, shape.latent_width
    width, height = shape.latent_width * token, shape.latent_height * token
    first_F = torch.arange(sizes[0], device=column_X.device) == 0
    numbers = [2 * column_X / width, 2 * row_Y[:, None] / height, width, height, first_F[:, None, None]]
    return torch.stack([torch.as_tensor(each, device=column_X.device).float().expand(sizes) for each in numbers], -1)


def heard_layout(layout_BSFK: Tensor, tokens: int) -> Tensor:
    """What every audio token is told, (B, A, K' + 1): mouth and touch, at the frames around its moment, of the subject
    that has most to be heard of there, and that subject's classes. Last a 1: it is told."""
    subjects_BSFK = layout_BSFK * (layout_BSFK[..., THERE, None] > 0.5)
    events_BSFM2 = torch.stack([subjects_BSFK[..., MOUTH], subjects_BSFK[..., TOUCH]], dim=-1)
    events_BST2 = torch.cat([events_BSFM2[:, :, 0, -1:], events_BSFM2[:, :, 1:].flatten(2, 3)], dim=2)
    frames, device = events_BST2.shape[2], layout_BSFK.device
    middle_A = ((torch.arange(tokens, device=device) + 0.5) * frames / tokens - 0.5).round().long()
    near_AO = (middle_A[:, None] + torch.tensor(NEARBY, device=device)).clamp(0, frames - 1)
    near_BSAO2 = events_BST2[:, :, near_AO]
    latent_A = (middle_A.clamp(0, frames - 1) + MOMENTS - 1) // MOMENTS
    each_BSAK = torch.cat([near_BSAO2.flatten(3), subjects_BSFK[:, :, latent_A, CLASSES:]], dim=-1)
    return _marked(_of_one(each_BSAK, near_BSAO2.sum((-1, -2)).argmax(1)))


def _of_one(each_BSXK: Tensor, index_BX: Tensor) -> Tensor:
    """The numbers of one subject at every place X, of any axes."""
    index_B1X1 = index_BX[:, None, ..., None]
    return each_BSXK.gather(1, index_B1X1.expand(*index_B1X1.shape[:-1], each_BSXK.shape[-1])).squeeze(1)


def _marked(told_BNK: Tensor) -> Tensor:
    return nn.functional.pad(told_BNK, (0, 1), value=1.0)


class Waves(nn.Module):
    """Numbers (..., K) -> the same, and sines and cosines of some of them, (..., K + W).

    waved: which. octaves: the longest wave is 2.
    """

    def __init__(self, numbers: int, waved: Sequence[int] = (), octaves: int = 3):
        super().__init__()
        self.waved, self.octaves = [*waved], octaves
        self.out_features = numbers + 2 * octaves * len(self.waved)

    def forward(self, numbers_BNK: Tensor) -> Tensor:
        phases = [pi * 2.0**octave * numbers_BNK[..., self.waved] for octave in range(self.octaves)]
        return torch.cat([numbers_BNK, *(wave for phase in phases for wave in (phase.sin(), phase.cos()))], dim=-1)


class LayoutEmbedding(nn.Module):
    """What tokens are told (B, N, K + 1) -> (B, N, D): nothing at first, and nothing where the last number is 0.

    numbers, waved: K, and those of which sines go in too.
    """

    def __init__(self, numbers: int, dim: int, waved: Sequence[int] = ()):
        super().__init__()
        self.waves = Waves(numbers, waved)
        entering = nn.Linear(self.waves.out_features, dim)
        self.mlp = nn.Sequential(entering, nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), ZeroLinear(dim, dim))

    def forward(self, layout_BNK: Tensor) -> Tensor:
        dtype = self.mlp[0].weight.dtype
        return self.mlp(self.waves(layout_BNK[..., :-1]).to(dtype)) * layout_BNK[..., -1:].to(dtype)


class LayoutPlanner(ModelMixin, ConfigMixin):
    """Layouts of a prompt: flow matching over their numbers, by a transformer that reads the prompt's hidden states.

    A token is one quantity of one subject over the whole clip (all of its x, say), so that a curve is a matter of one
    linear layer and not of agreement among frames.

    text_dim: of the context. classes: how many there are of every sort.
    subjects, frames: at most so many are planned, latent ones. reads: fingerprint of the text encoder whose hidden
    states it has learnt to read; None: of any.
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
        num_layers: int = 5,
        reads: str | None = None,
    ):
        super().__init__()
        numbers = layout_numbers(classes)
        self.quantities = (X, Y, TURN, MOUTH, TOUCH, slice(THERE, numbers))
        sizes = [frames * (part.stop - part.start) for part in self.quantities]
        self.embed = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.embed_token = nn.Parameter(torch.randn(subjects, len(sizes), width) * 0.02)
        self.embed_canvas = nn.Linear(2, width)
        self.embed_time = TimeEmbedding(width)
        self.embed_text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, width))
        self.embed_place = ZeroLinear(2 * TEXT_OCTAVES, width)
        layer = nn.TransformerDecoderLayer(
            width, num_heads, 3 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, num_layers, nn.LayerNorm(width))
        self.leave = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        # Roughly unit variance of every number, about its mean: flow matching starts from there.
        middle, scale = torch.zeros(numbers), torch.ones(numbers)
        scale[:WAYS], scale[MOUTH], scale[TOUCH], scale[CLASSES:] = 6.0, 3.0, 3.0, 3.0
        middle[THERE], scale[THERE] = 0.5, 2.0
        middle[RADIUS], scale[RADIUS] = 0.15, 10.0
        self.register_buffer("middle_K", middle, persistent=False)
        self.register_buffer("scale_K", scale, persistent=False)

    def normalised(self, layout_BSFK: Tensor) -> Tensor:
        """Of about unit variance, (B, S, F, K)."""
        return (layout_BSFK - self.middle_K) * self.scale_K

    def forward(self, noisy_BSFK: Tensor, time_B: Tensor, aspect: float, context: Context) -> Tensor:
        """The normalised layout that the noisy one, at time t, is seen to end at. aspect: width / height.

        context: of B prompts; or of fewer, each of which goes with as many noisy layouts, one after the other. Raises
        ValueError for more latent frames than can be planned.
        """
        frames, most = noisy_BSFK.shape[2], self.config.frames
        if frames > most:
            raise ValueError(f"layouts are planned for up to {most} latent frames, not {frames}")
        whole_BSFK = nn.functional.pad(noisy_BSFK, (0, 0, 0, most - frames))
        parts = zip(self.embed, self.quantities, strict=True)
        x = torch.stack([embed(whole_BSFK[..., part].flatten(2)) for embed, part in parts], dim=2)
        canvas = torch.tensor([log(aspect), frames / most], device=x.device, dtype=x.dtype)
        told_BD = self.embed_time(time_B) + self.embed_canvas(canvas)
        x = (x + self.embed_token + told_BD[:, None, None]).flatten(1, 2)
        # Layouts of one prompt stand side by side and do not see each other: it is read once for all.
        own, copies = x.shape[1], len(x) // len(context.hidden_BLD)
        number = torch.arange(copies, device=x.device).repeat_interleave(own)
        x = self.layers(
            x.unflatten(0, (-1, copies)).flatten(1, 2),
            self._read(context).to(x.dtype),
            tgt_mask=None if copies == 1 else number[:, None] != number,
            memory_key_padding_mask=~context.mask_BL,
        )
        x = x.unflatten(1, (copies, *noisy_BSFK.shape[1:2], len(self.quantities))).flatten(0, 1).unbind(2)
        out = [leave(each).unflatten(2, (most, -1)) for leave, each in zip(self.leave, x, strict=True)]
        return torch.cat(out, dim=-1)[:, :, :frames]

    def _read(self, context: Context) -> Tensor:
        """The prompt's tokens (B, L, D), and where they stand: of two things it is said in turn how they look."""
        text_BLD = self.embed_text(context.hidden_BLD.to(self.dtype))
        place_L = torch.arange(text_BLD.shape[1], device=text_BLD.device, dtype=torch.float32)
        phase_LW = pi * place_L[:, None] / 2.0 ** torch.arange(TEXT_OCTAVES, device=text_BLD.device)
        return text_BLD + self.embed_place(torch.cat([phase_LW.sin(), phase_LW.cos()], -1).to(self.dtype))

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
        evidence: Callable[[Tensor], Tensor] | None = None,
        candidates: int = 16,
    ) -> Tensor:
        """Layouts (B, S, F, K) of the prompts, settled; on the CPU.

        negative: of what the plans shall be pushed away from, with the scale `guidance`. frames: latent ones.
        generators: one each, on the CPU. steps: of Euler. evidence: how likely a layout is, besides (its logarithm,
        see `models/evidence.py`); then as many candidates as told are drawn to what is likely, and the best is taken.
        Raises ValueError for too many frames.
        """
        copies = 1 if evidence is None else candidates
        size, device = (copies, self.config.subjects, frames, len(self.scale_K)), context.hidden_BLD.device
        x = torch.cat([torch.randn(size, generator=each) for each in generators]).to(device, self.dtype)
        for step in range(steps):
            time_B = torch.full((len(x),), step / steps, device=device)
            found = self(x, time_B, aspect, context)
            found = found + (guidance - 1) * (found - self(x, time_B, aspect, negative))
            if evidence is not None and step >= steps // 12:  # before, what is found is nothing but a mean
                found = found + PULL * (1 - step / steps) * self._uphill(evidence, found)
            x = x + (found - x) / (steps - step)
        # Who is there and what is a matter of thresholds: so decided in one place, on any device.
        layout_BSFK = self.settled(x.float().cpu() / self.scale_K.float().cpu() + self.middle_K.float().cpu())
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

    def settled(self, layout_BSFK: Tensor) -> Tensor:
        """As it must be, (B, S, F, K): subjects are there or not, of one class of each sort; turns have length 1."""
        out = layout_BSFK.clone()
        cosine, sine = out[..., TURN].chunk(2, -1)
        length = torch.hypot(cosine, sine).clamp(min=1e-6)
        out[..., TURN] = torch.cat([cosine / length, sine / length], -1)
        out[..., MOUTH.start : TOUCH.stop] = out[..., MOUTH.start : TOUCH.stop].clamp(0.0, 1.0)
        out[..., THERE] = (out[..., THERE] > 0.5).float()
        out[..., RADIUS] = out[..., RADIUS].clamp(min=0.0)
        first = CLASSES
        for count in self.config.classes:
            chosen = out[..., first : first + count].argmax(-1)
            out[..., first : first + count] = nn.functional.one_hot(chosen, count).to(out.dtype)
            first += count
        return out
