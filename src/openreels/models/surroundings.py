"""What a sketch sees of what is given: beside each token, and in all of the pictures.

Of a clip that is edited or begun most need only be copied from the same place (`beside`). Where it is not there that
something is shown (a place in a picture that the prompt refers to, a thing that was elsewhere in the first frame, what
a moving camera comes to see), a token looks for it (`Pictures`).

Legend: B batch, N tokens, F latent frames, G those of them that are given, Z places in one, C channels, K numbers, P
tokens of pictures, A position axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openreels.types import StreamState

__all__ = ["BESIDE", "FRAMES_APART", "PICTURED", "PLACES_APART", "Pictures", "Surroundings", "beside", "pictures"]

BESIDE = 3  # numbers that say where what a token sees beside itself comes from
UNIT = 8.0  # of distances in time and space, latent units
PAGES = 6  # pictures that are told apart by their number; further ones share the last
PICTURED = 2 + PAGES  # numbers that say what a picture is
AXES = 3  # frame, row, column
PLACES_APART, FRAMES_APART = 8, 16  # rows, columns and latent frames; whatever is further away is so far


class Pictures(NamedTuple):
    """The tokens of all that is given of a batch of clips.

    tokens_BPK: latents, the mean latents of the frame they are of, and what that is: the share of a token of the clip
    itself that is given, 1 in a clip as long as that, one 1 for the number of any other picture (`PICTURED`).
    given_BP: whether anything is. apart_NPA: how far every token of the clip is from each, in steps from the furthest;
    of a single picture and every frame as much, one step more than all else.
    names_P: which reference each is of, as prompts name it (`Context.named_BL`); 0: of the clip itself.
    looked_at_BN: which tokens of the clip these are; None: all.
    """

    tokens_BPK: Tensor
    given_BP: Tensor
    apart_NPA: Tensor
    names_P: Tensor
    looked_at_BN: Tensor | None = None


class Surroundings(NamedTuple):
    """What is given where every token is (`beside`), and everywhere (None: nothing is)."""

    beside_BNK: Tensor
    pictures: Pictures | None

    @classmethod
    def of(cls, state: StreamState) -> Surroundings:
        """Of a sound, what is beside its tokens alone."""
        is_seen = state.positions_NP.shape[1] == AXES
        return cls(beside(state), pictures(state) if is_seen else None)

    def at(self, index_BN: Tensor) -> Surroundings:
        """Those of some of the tokens."""
        beside_BNK = self.beside_BNK.gather(1, index_BN[..., None].expand(-1, -1, self.beside_BNK.shape[-1]))
        return Surroundings(beside_BNK, self.pictures and self.pictures._replace(looked_at_BN=index_BN))


def beside(state: StreamState) -> Tensor:
    """What is given where every token is, (B, N, C + `BESIDE`).

    Its own latents, as far as they are given; or those of the same place in the frame nearest in time that is given
    there; or those of the same moment of the last reference that is as long as the clip itself, which is the one to be
    edited where there is one. Then the share of it that is given, how far away in time, and 1 for a reference; zeros
    where there is none of these.
    """
    given_BNC, share_BN1 = state.given_BNC.float(), state.mask_BN1.float()
    long_enough = state.references >= state.tokens
    lent_BNC = state.reference_BRC[:, state.references - state.tokens :] if long_enough else torch.zeros_like(given_BNC)
    lent_BNK = torch.cat([lent_BNC.float(), torch.zeros_like(share_BN1).expand(-1, -1, 2)], dim=-1)
    lent_BNK = nn.functional.pad(lent_BNK, (0, 1), value=float(long_enough))

    time_F = state.positions_NP[:, 0].unique()
    away_FG = (time_F[:, None] - time_F).abs()
    whole_BGZ = share_BN1.squeeze(-1).unflatten(1, (len(time_F), -1)) >= 1
    away_BFGZ = away_FG[..., None].where(whole_BGZ[:, None], torch.inf)
    away_BFZ, index_BFZ = away_BFGZ.min(2)
    source_BGZC = given_BNC.unflatten(1, (len(time_F), -1))
    near_BFZC = source_BGZC.gather(1, index_BFZ[..., None].expand(-1, -1, -1, given_BNC.shape[-1]))
    there_BFZ1 = away_BFZ.isfinite()[..., None].float()
    away_BFZ1 = away_BFZ[..., None].nan_to_num(posinf=0.0) / UNIT
    near_BNK = torch.cat([near_BFZC, there_BFZ1, away_BFZ1, torch.zeros_like(there_BFZ1)], dim=-1).flatten(1, 2)

    own_BNK = nn.functional.pad(torch.cat([given_BNC, share_BN1], dim=-1), (0, 2))
    is_near_BN1 = there_BFZ1.flatten(1, 2) > 0
    return torch.where(share_BN1 > 0, own_BNK, torch.where(is_near_BN1, near_BNK, lent_BNK))


def pictures(state: StreamState) -> Pictures | None:
    """All that is given of a video: what is kept of it, and the references. None where nothing is."""
    parts = []
    if state.references:
        parts.append(_referred(state))
    if (state.mask_BN1 > 0).any():
        parts.append(_kept(state))
    if not parts:
        return None
    tokens, given, positions, timeless, names = zip(*parts, strict=True)
    apart_NPA = _apart(state.positions_NP, torch.cat(positions), torch.cat(timeless))
    return Pictures(torch.cat(tokens, 1), torch.cat(given, 1), apart_NPA, torch.cat(names))


class _Part(NamedTuple):
    """Some of the tokens of `Pictures`, where they are, whether they are at no time of the clip, and their names."""

    tokens_BPK: Tensor
    given_BP: Tensor
    positions_PA: Tensor
    timeless_P: Tensor
    names_P: Tensor


def _kept(state: StreamState) -> _Part:
    """Of the clip itself."""
    share_BN1 = state.mask_BN1.float()
    latents_BNC = state.given_BNC.float() * (share_BN1 > 0)
    marks_BNK = nn.functional.pad(share_BN1, (0, PICTURED - 1))
    tokens_BNK = torch.cat([latents_BNC, _frame_means(latents_BNC, share_BN1, state.positions_NP), marks_BNK], dim=-1)
    timeless_N = torch.zeros(state.tokens, dtype=torch.bool, device=share_BN1.device)
    return _Part(tokens_BNK, share_BN1[..., 0] > 0, state.positions_NP, timeless_N, timeless_N.long())


def _referred(state: StreamState) -> _Part:
    """Of references. The last one, if it is as long as the clip to make, shares its moments."""
    latents_BRC, positions_RP = state.reference_BRC.float(), state.reference_positions_RP.clone()
    is_still = len(state.positions_NP[:, 0].unique()) == 1
    alike = state.tokens if state.references >= state.tokens and not is_still else 0
    frame_R = positions_RP[:, 0] - positions_RP[:, 0].min()
    moving_R = torch.arange(state.references, device=latents_BRC.device) >= state.references - alike
    marks_RK = nn.functional.one_hot(frame_R.long().clamp(max=PAGES - 1), PAGES).float() * ~moving_R[:, None]
    marks_RK = torch.cat([torch.zeros_like(marks_RK[:, :1]), moving_R[:, None].float(), marks_RK], dim=-1)
    everywhere_BR1 = torch.ones_like(latents_BRC[..., :1])
    means_BRC = _frame_means(latents_BRC, everywhere_BR1, positions_RP)
    tokens_BRK = torch.cat([latents_BRC, means_BRC, marks_RK.expand(len(latents_BRC), -1, -1)], dim=-1)
    if alike:
        positions_RP[-alike:] = state.positions_NP
    names_R = torch.where(moving_R, -1, frame_R.long() + 1)
    return _Part(tokens_BRK, everywhere_BR1[..., 0] > 0, positions_RP, ~moving_R, names_R)


def _frame_means(latents_BNC: Tensor, share_BN1: Tensor, positions_NP: Tensor) -> Tensor:
    """Of every token the mean latents of its frame, as far as they are given, (B, N, C)."""
    frames = len(positions_NP[:, 0].unique())
    weighed_BFZC = (latents_BNC * share_BN1).unflatten(1, (frames, -1))
    weight_BFZ1 = share_BN1.unflatten(1, (frames, -1))
    mean_BFZC = weighed_BFZC.sum(2, keepdim=True) / weight_BFZ1.sum(2, keepdim=True).clamp(min=1e-6)
    return mean_BFZC.expand_as(weighed_BFZC).flatten(1, 2)


def _apart(own_NA: Tensor, positions_PA: Tensor, timeless_P: Tensor) -> Tensor:
    """(N, P, A), see `Pictures`."""
    away_NPA = (positions_PA - own_NA[:, None]).round().long()
    most_A = torch.tensor([FRAMES_APART, PLACES_APART, PLACES_APART], device=away_NPA.device)
    steps_NPA = away_NPA.clamp(-most_A, most_A) + most_A
    steps_NPA[:, timeless_P, 0] = 2 * FRAMES_APART + 1
    return steps_NPA
