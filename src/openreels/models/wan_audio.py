"""How sound reaches the avatar network: windows of speech features -> tokens of a latent frame -> attention per frame.

With several speakers, every picture token is first assigned to one of them (or to the background) by how it attends to
the masks of the first frame; a rotary position then makes it hear that speaker. The official code holds this path for
two speakers and 81 frames; here the number of speakers and frames is free.

Source: spec/v3.md 6.1 (the MultiTalk design).
Legend: B batch, P speakers, V video frames, F latent frames, S tokens of a frame, N = F S, W window, Y layers of the
speech encoder, C their width, A audio tokens of a frame (all speakers), O width of an audio token, M masks (P + 1,
background last), H heads, d head width, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openreels.models.wan_rope import frequencies, rotate, turns
from openreels.nn.attention import attention
from openreels.nn.norms import LayerNorm

__all__ = ["AudioAttention", "AudioEmbedder", "AudioInputs", "audio_windows", "speaker_masks_of_tokens"]

# Positions on the speaker axis: speaker p's picture tokens lie in [20 p, 20 p + 4], its sound at 20 p + 2 (official
# values for p = 0 and 1, continued for more); background tokens lie between the first two.
SPEAKER_SPACING, SPEAKER_SPAN, SPEAKER_SOUND, BACKGROUND = 20.0, 4.0, 2.0, 12.0


def audio_windows(features_VYC: Tensor, window: int = 5, start: int = 0, count: int | None = None) -> Tensor:
    """Each video frame's features with those of its neighbours, (..., count, window, Y, C).

    features: (..., V, Y, C), one row per video frame of the whole soundtrack. start, count: the frames wanted (all by
    default); neighbours come from the whole soundtrack, so the segments of a long video see across their borders.
    Frames beyond its ends repeat the end.
    """
    frames = features_VYC.shape[-3]
    count = frames - start if count is None else count
    centre = torch.arange(start, start + count, device=features_VYC.device)
    offset = torch.arange(window, device=features_VYC.device) - window // 2
    index = (centre[:, None] + offset).clamp(0, frames - 1)
    return features_VYC.index_select(-3, index.flatten()).unflatten(-3, (count, window))


class AudioEmbedder(nn.Module):
    """Windows of speech features -> `tokens` audio tokens for each latent frame.

    The first latent frame is one video frame and takes its whole window; each later one covers `vae_scale` video
    frames: the past half of the first one's window, the centres of the middle ones, the future half of the last one's.
    """

    def __init__(
        self, audio_dim: int, layers: int, window: int, hidden_dim: int, token_dim: int, tokens: int, vae_scale: int
    ):
        super().__init__()
        self.window, self.vae_scale, self.tokens = window, vae_scale, tokens
        width = layers * audio_dim
        self.proj_first = nn.Linear(window * width, hidden_dim)
        self.proj_later = nn.Linear((window + vae_scale - 1) * width, hidden_dim)
        self.proj_hidden = nn.Linear(hidden_dim, hidden_dim)
        self.proj_tokens = nn.Linear(hidden_dim, tokens * token_dim)
        self.norm = LayerNorm(token_dim)

    def forward(self, windows_BPVWYC: Tensor) -> Tensor:
        """(B, F, P * tokens, O) for V = 1 + vae_scale * (F - 1)."""
        half = self.window // 2
        first = windows_BPVWYC[:, :, :1].flatten(3)
        groups = windows_BPVWYC[:, :, 1:].unflatten(
            2, ((windows_BPVWYC.shape[2] - 1) // self.vae_scale, self.vae_scale)
        )
        past, centres, future = (
            groups[..., 0, : half + 1, :, :],
            groups[..., 1:-1, half, :, :],
            groups[..., -1, half:, :, :],
        )
        later = torch.cat([past, centres, future], dim=3).flatten(3)
        hidden = torch.cat([self.proj_first(first).relu(), self.proj_later(later).relu()], dim=2)
        tokens = self.proj_tokens(self.proj_hidden(hidden).relu()).unflatten(-1, (self.tokens, -1))
        tokens_BPFTO = self.norm(tokens).to(tokens.dtype)
        return tokens_BPFTO.transpose(1, 2).flatten(2, 3)


def speaker_masks_of_tokens(masks_MHW: Tensor, speakers: int, rows: int, columns: int) -> Tensor:
    """(M, rows * columns) float32: the masks at the size of the token grid, by nearest neighbour.

    Raises ValueError where a speaker has no token at all or the number of masks is not speakers + 1.
    """
    if masks_MHW.ndim != 3 or len(masks_MHW) != speakers + 1:
        raise ValueError(
            f"speaker_masks must be ({speakers + 1}, height, width): {speakers} speakers, then the background; "
            f"got {tuple(masks_MHW.shape)}."
        )
    masks_MS = nn.functional.interpolate(masks_MHW[None].float(), (rows, columns), mode="nearest")[0].flatten(1)
    for speaker, mask in enumerate(masks_MS[:-1]):
        if not mask.any():
            raise ValueError(
                f"speaker_masks: the region of speaker {speaker + 1} is empty at {columns} x {rows} tokens."
            )
    return masks_MS


@dataclass(frozen=True)
class AudioInputs:
    """What the audio attention of every block takes.

    tokens_BFAO: of all speakers, one after the other. masks_MS: float32, needed for two speakers and more.
    official_order: give places to tokens as the official code does. It reads a (frames, heads, tokens) tensor as
    (heads, frames, tokens), so a token's heads get the places of unrelated tokens; only its goldens want that.
    """

    tokens_BFAO: Tensor
    speakers: int
    masks_MS: Tensor | None
    official_order: bool = False

    def rotary_of_tokens(self, q_BFSHd: Tensor, k_BFSHd: Tensor) -> Tensor | None:
        """Turns (B, F, S, 1 or H, d / 2, 2) by whom each picture token belongs to; None for a single speaker."""
        if self.speakers == 1:
            return None
        places_BFS = _speaker_places(q_BFSHd, k_BFSHd[:, 0], self.masks_MS)
        places_BFSH = places_BFS[..., None]
        if self.official_order:
            batch, frames, tokens, heads, _ = q_BFSHd.shape
            places_BFSH = places_BFS.flatten(1).repeat(1, heads).view(batch, frames, heads, tokens).transpose(2, 3)
        frequency_d2 = frequencies(q_BFSHd.shape[-1], torch.float32).to(places_BFS.device)
        return turns(places_BFSH[..., None] * frequency_d2)

    def rotary_of_sound(self, head_dim: int) -> Tensor | None:
        """Turns (1, 1, A, 1, d / 2, 2) of the audio tokens; None for a single speaker."""
        if self.speakers == 1:
            return None
        speaker_P = torch.arange(self.speakers, dtype=torch.float32)
        place_A = (speaker_P * SPEAKER_SPACING + SPEAKER_SOUND).repeat_interleave(
            self.tokens_BFAO.shape[2] // self.speakers
        )
        angles = torch.outer(place_A, frequencies(head_dim, torch.float32))
        return turns(angles).to(self.tokens_BFAO.device)[None, None, :, None]


def _speaker_places(q_BFSHd: Tensor, first_k_BSHd: Tensor, masks_MS: Tensor) -> Tensor:
    """Place (B, F, S) of each token on the speaker axis, from its attention to the first frame.

    Its attention averaged over each mask (and over heads) decides whose it is; how strongly, relative to all tokens of
    the clip, gives the place within that speaker's span.
    """
    if masks_MS.shape[1] != first_k_BSHd.shape[1]:
        raise ValueError("several speakers need whole frames on each device: context parallelism cannot split them.")
    # The sum of attention weights over a mask is attention with the mask as its values: no (N, S) map in memory.
    masks, width = len(masks_MS), q_BFSHd.shape[-1]
    values_Sd = nn.functional.pad(masks_MS.T, (0, width - masks)).to(q_BFSHd.dtype)
    values_BSHd = values_Sd[None, :, None].expand(*first_k_BSHd.shape)
    share_BNHd = attention(q_BFSHd.flatten(1, 2), first_k_BSHd, values_BSHd)
    share_BNM = share_BNHd[..., :masks].float().mean(dim=2) / masks_MS.sum(dim=1).clamp(min=1e-8)

    low, high = share_BNM.amin(dim=1, keepdim=True), share_BNM.amax(dim=1, keepdim=True)
    span_BNM = (share_BNM - low) / (high - low + 1e-8) * SPEAKER_SPAN
    places_BNM = span_BNM + SPEAKER_SPACING * torch.arange(masks, device=span_BNM.device)
    places_BNM[..., -1] = BACKGROUND
    owner_BN1 = share_BNM.argmax(dim=-1, keepdim=True)
    return places_BNM.gather(-1, owner_BN1)[..., 0].unflatten(1, q_BFSHd.shape[1:3])


class AudioAttention(nn.Module):
    """The tokens of a latent frame attend to that frame's audio tokens: no gate, no q/k norm."""

    def __init__(self, dim: int, num_heads: int, token_dim: int):
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_kv = nn.Linear(token_dim, 2 * dim)
        self.to_out = nn.Linear(dim, dim)

    def keys(self, inputs: AudioInputs) -> tuple[Tensor, Tensor]:
        """k and v, each (B, F, A, H, d)."""
        k, v = self.to_kv(inputs.tokens_BFAO).unflatten(-1, (2, self.num_heads, -1)).unbind(-3)
        rotary = inputs.rotary_of_sound(k.shape[-1])
        return (k if rotary is None else rotate(k, rotary).to(v.dtype)), v

    def forward(self, x_BFSD: Tensor, k_BFAHd: Tensor, v_BFAHd: Tensor, rotary_BFSHd2: Tensor | None) -> Tensor:
        q_BFSHd = self.to_q(x_BFSD).unflatten(-1, (self.num_heads, -1))
        if rotary_BFSHd2 is not None:
            q_BFSHd = rotate(q_BFSHd, rotary_BFSHd2).to(x_BFSD.dtype)
        attended = attention(*(x.flatten(0, 1) for x in (q_BFSHd, k_BFAHd, v_BFAHd)))
        return self.to_out(attended.flatten(2).view_as(x_BFSD))
