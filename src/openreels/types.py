"""The frozen vocabulary every part shares: shapes of clips and latents, and the state a model sees.

Shape legend (used in the whole package):
    B batch   T frames   H, W pixels   F latent frames   Y, X latent rows, columns   C channels
    N tokens  L text tokens   D width   A audio tokens   S samples of a waveform   R reference tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

__all__ = ["AudioShape", "Context", "HiddenStates", "StreamState", "VideoShape"]


@dataclass(frozen=True)
class VideoShape:
    """Size of a video in pixels and of its latents.

    frames, height, width: pixels, before any cropping to what the user asked.
    fps: frames per second, exact.
    latent_*: the grid of tokens that the model sees. For a model that patches p x p positions of the codec's latents
    into one token, rows and columns are a p-th of the codec's and channels p * p times as many (`nn/patches.py`).
    """

    frames: int
    height: int
    width: int
    fps: Fraction
    latent_frames: int
    latent_height: int
    latent_width: int
    latent_channels: int

    @property
    def tokens(self) -> int:
        """Latent positions, one transformer token each."""
        return self.latent_frames * self.latent_height * self.latent_width


@dataclass(frozen=True)
class AudioShape:
    """Size of a waveform and of its latents. samples: per channel at `sample_rate` Hz."""

    samples: int
    sample_rate: int
    tokens: int
    latent_channels: int


@dataclass(frozen=True)
class HiddenStates:
    """What an encoder says, token by token.

    hidden_BLD: float hidden states. mask_BL: bool, True where a token is real.
    """

    hidden_BLD: Tensor
    mask_BL: Tensor

    def to(self, *args, **kwargs) -> HiddenStates:
        hidden_BLD = self.hidden_BLD.to(*args, **kwargs)
        return HiddenStates(hidden_BLD, self.mask_BL.to(hidden_BLD.device))

    def rows(self, index: Tensor) -> HiddenStates:
        """Of the samples `index` (K,) of the batch."""
        return HiddenStates(self.hidden_BLD[index], self.mask_BL[index])

    @staticmethod
    def stack(parts: Sequence[HiddenStates]) -> HiddenStates:
        """Along the batch; the shorter ones are padded with masked tokens."""
        length = max(part.hidden_BLD.shape[1] for part in parts)
        pad = torch.nn.functional.pad
        hidden = [pad(part.hidden_BLD, (0, 0, 0, length - part.hidden_BLD.shape[1])) for part in parts]
        mask = [pad(part.mask_BL, (0, length - part.mask_BL.shape[1])) for part in parts]
        return HiddenStates(torch.cat(hidden), torch.cat(mask))


@dataclass(frozen=True)
class Context(HiddenStates):
    """What the text or multimodal encoder says of a prompt, and what models we warm start from are told besides.

    hidden_BLD, mask_BL: of the prompt's tokens.
    glyph: of the text to be drawn (ByT5, HunyuanVideo-1.5). image: of the first frame (SigLIP, HunyuanVideo-1.5).
    pooled_BE: one vector for the whole prompt (CLIP, HunyuanVideo-1.0).
    guidance_B: the guidance scale a distilled model shall imitate (HunyuanVideo-1.0), such as 6.0.
    named_BL: which reference every token of the prompt names, int64: k for the k-th picture (@image_1 is 1), -k for the
    k-th clip (@video_1 is -1), 0 for none; None: no prompt names any, or nobody looked.
    brief_BK: what the prompt asks for, as likelihoods of answers (`encoders/brief.py`); None: nobody said.
    A source that is None is not there; a model that has no entrance for a source refuses it.
    """

    glyph: HiddenStates | None = None
    image: HiddenStates | None = None
    pooled_BE: Tensor | None = None
    guidance_B: Tensor | None = None
    named_BL: Tensor | None = None
    brief_BK: Tensor | None = None

    def to(self, *args, **kwargs) -> Context:
        text = super().to(*args, **kwargs)
        others = {name: None if (x := getattr(self, name)) is None else x.to(*args, **kwargs) for name in _SOURCES}
        for name in _NUMBERS:  # numbers to embed or to compare: never rounded
            if (value := getattr(self, name)) is not None:
                others[name] = value.to(text.hidden_BLD.device)
        return Context(text.hidden_BLD, text.mask_BL, **others)

    def rows(self, index: Tensor) -> Context:
        text, others = super().rows(index), {}
        for name in (*_SOURCES, *_NUMBERS):
            value = getattr(self, name)
            if value is not None:
                others[name] = value.rows(index) if isinstance(value, HiddenStates) else value[index]
        return Context(text.hidden_BLD, text.mask_BL, **others)

    def briefly(self) -> Context:
        """The same as it sounds to whom only the brief is told: no word is heard."""
        return replace(self, hidden_BLD=torch.zeros_like(self.hidden_BLD), named_BL=None)

    @staticmethod
    def stack(parts: Sequence[Context]) -> Context:
        """Along the batch, sources included; glyph and image states that only some parts have are masked in the rest.

        Raises ValueError where only some have a pooled vector or a guidance scale: there is no saying "none" for these.
        """
        text = HiddenStates.stack(parts)
        others = {name: [getattr(part, name) for part in parts] for name in (*_SOURCES, "guidance_B")}
        stacked = {}
        for name, values in others.items():
            given = [value for value in values if value is not None]
            if not given:
                continue
            if isinstance(given[0], HiddenStates):
                values = [v if v is not None else _nothing(given[0], p) for v, p in zip(values, parts, strict=True)]
                stacked[name] = HiddenStates.stack(values)
            elif len(given) < len(values):
                raise ValueError(f"{name} is given for {len(given)} of {len(values)} contexts: give it for all or none")
            else:
                stacked[name] = torch.cat(given)
        if any(part.named_BL is not None for part in parts):
            stacked["named_BL"] = torch.cat([_named(part, text.hidden_BLD.shape[1]) for part in parts])
        briefs = [part.brief_BK for part in parts]
        if (brief_BK := next((brief for brief in briefs if brief is not None), None)) is not None:
            unsaid = [brief_BK.new_zeros(len(part.hidden_BLD), brief_BK.shape[1]) for part in parts]
            said = [none if brief is None else brief for brief, none in zip(briefs, unsaid, strict=True)]
            stacked["brief_BK"] = torch.cat(said)
        return Context(text.hidden_BLD, text.mask_BL, **stacked)


_SOURCES = ("glyph", "image", "pooled_BE")
_NUMBERS = ("guidance_B", "named_BL", "brief_BK")


def _named(part: Context, length: int) -> Tensor:
    """What the tokens of a context name, padded to so many, (B, L)."""
    if part.named_BL is None:
        return torch.zeros(len(part.hidden_BLD), length, dtype=torch.int64, device=part.hidden_BLD.device)
    return torch.nn.functional.pad(part.named_BL, (0, length - part.named_BL.shape[1]))


def _nothing(like: HiddenStates, part: Context) -> HiddenStates:
    """One masked token for each sample of `part`."""
    batch = part.hidden_BLD.shape[0]
    return HiddenStates(like.hidden_BLD.new_zeros(batch, 1, like.hidden_BLD.shape[2]), like.mask_BL.new_zeros(batch, 1))


@dataclass(frozen=True)
class StreamState:
    """One modality on its way through the model; the same object in training and in sampling.

    Every task is inpainting plus in-context references (paper, sections "unified inpainting" and "in-context
    references"): a state holds the noisy latents, what is given of them, where it is given, and reference tokens.

    noisy_BNC:      z_t = t * data + (1 - t) * noise, in normalised latent units (about unit variance).
    given_BNC:      latents of the conditioning frames; of black frames (or zeros) elsewhere, which mask 0 hides.
    mask_BN1:       1 = given, 0 = to generate. For audio always 0 (the paper never inpaints audio that way).
    time_B:         t in [0, 1]; 1 is data, 0 is noise.
    positions_NP:   real-valued, in latent-frame units; P = 3 (frame, row, column) for video, 1 (frame) for audio.
    reference_BRC:  clean latents of reference tokens (R may be 0).
    reference_positions_RP: their positions; the frame index is negative: condition i of n sits at i - n.
    layout_BNK:     what the tokens are told of where things are (`models/layout.py`); zeros, or None: nothing.
    sketch_BNK:     what they probably hold then (`models/sketch.py`): the mean of each channel, and a variance; None:
                    not asked yet.
    """

    noisy_BNC: Tensor
    given_BNC: Tensor
    mask_BN1: Tensor
    time_B: Tensor
    positions_NP: Tensor
    reference_BRC: Tensor
    reference_positions_RP: Tensor
    layout_BNK: Tensor | None = None
    sketch_BNK: Tensor | None = None

    @property
    def tokens(self) -> int:
        return self.noisy_BNC.shape[1]

    @property
    def references(self) -> int:
        return self.reference_BRC.shape[1]

    def at(self, noisy_BNC: Tensor, time_B: Tensor) -> StreamState:
        """The same task at another point of the path."""
        return replace(self, noisy_BNC=noisy_BNC, time_B=time_B)

    def rows(self, index: Tensor) -> StreamState:
        """The samples `index` (K,) of the batch; positions are the same for all."""
        batched = {name: getattr(self, name) for name in _BATCHED}
        return replace(self, **{name: value[index] for name, value in batched.items() if value is not None})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> StreamState:
        """Move; `dtype` applies to latents only: all else stays float32 (rounding positions and times loses phase)."""
        latents = {
            name: getattr(self, name).to(device=device, dtype=dtype)
            for name in ("noisy_BNC", "given_BNC", "mask_BN1", "reference_BRC")
        }
        exact = {
            name: getattr(self, name).to(device=device) for name in ("time_B", "positions_NP", "reference_positions_RP")
        }
        told = {name: None if (x := getattr(self, name)) is None else x.to(device=device) for name in _TOLD}
        return replace(self, **latents, **exact, **told)


_TOLD = ("layout_BNK", "sketch_BNK")
_BATCHED = ("noisy_BNC", "given_BNC", "mask_BN1", "time_B", "reference_BRC", *_TOLD)
