"""What each token holds, as the world knows it: a second thing for the transformer to say while it learns.

The velocity of a noisy clip hardly depends on which of nine kinds of subject is in it or when it lands, so a small
model learns that last. Two thirds up the towers linear heads therefore name it, token by token: in pictures the subject
that is to be seen there, its colour, how it moves, where its middle is and goes; in sound the voice, how wide its mouth
opens, and what hits something. This is representation alignment (Yu et al., "Representation Alignment for Generation",
2024) with the truth in the place of a pretrained eye. The heads are thrown away afterwards.

Legend: B batch, N tokens, K classes, P numbers, S subjects, F Y X latent frames, rows and columns, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from openreels.training.layouts import places, shots_of_latents
from openreels.training.text_encoder import NONE, SUBJECT_SLOTS, motion_name
from openreels.types import AudioShape, VideoShape
from openreels.world import MATERIALS, VOICES, Film, Shot, Subject, contacts, mouth

__all__ = ["SLOTS", "TokenHeads", "TokenTruth", "heard", "overheard", "seen", "token_error"]

SLOTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "video": {name: SUBJECT_SLOTS[name] for name in ("kind", "colour", "motion")},
    "audio": {"voice": (NONE, *VOICES), "impact": (NONE, *MATERIALS)},
}
NUMBERS = {"video": 4, "audio": 1}  # (way to the subject's middle, way it goes), in tokens; opening of the mouth
HALF_TOKEN = 0.5
OPEN = 0.1  # a mouth that is less open than this says nothing


class TokenTruth(NamedTuple):
    """Of every token of one stream. classes_BNK: int8, one of each slot. numbers_BNP: float32; they count where the
    first slot is not `NONE`."""

    classes_BNK: Tensor
    numbers_BNP: Tensor

    @staticmethod
    def stack(parts: Sequence[TokenTruth]) -> TokenTruth:
        return TokenTruth(*(torch.stack(same) for same in zip(*parts, strict=True)))

    def to(self, device: torch.device) -> TokenTruth:
        return TokenTruth(*(part.to(device) for part in self))


def seen(film: Film, shape: VideoShape, window: tuple[int, int]) -> TokenTruth:
    """What the tokens of a film's picture show, without a batch. window: height and width, pixels, of what is shown of
    the canvas, around its middle."""
    token, grid_YX2 = _grid(shape, window)
    sizes = (shape.latent_frames, shape.latent_height, shape.latent_width)
    classes, numbers = np.zeros((*sizes, len(SLOTS["video"])), np.int8), np.zeros((*sizes, 4), np.float32)
    for shot, inside_F, moments_F2 in shots_of_latents(film, shape):
        places_SF22, radius_SF, _ = places(shot, moments_F2)
        way_SFYX2 = places_SF22.mean(2)[:, :, None, None] - grid_YX2
        beyond_SFYX = np.linalg.norm(way_SFYX2, axis=-1) - radius_SF[..., None, None] - HALF_TOKEN * token
        nearest_FYX = beyond_SFYX.argmin(0)
        shown_FYX1 = (beyond_SFYX.min(0) < 0)[..., None]
        names_SK = np.array([_subject_classes(shot, subject) for subject in shot.scene.subjects])
        classes[inside_F] = np.where(shown_FYX1, names_SK[nearest_FYX], 0)
        way_FYX2 = np.take_along_axis(way_SFYX2, nearest_FYX[None, ..., None], 0)[0]
        goes_FS2 = (places_SF22[:, :, 1] - places_SF22[:, :, 0]).swapaxes(0, 1)
        goes_FYX2 = goes_FS2[np.arange(len(goes_FS2))[:, None, None], nearest_FYX]
        numbers[inside_F] = np.concatenate([way_FYX2, goes_FYX2], -1) / token * shown_FYX1
    return TokenTruth(torch.from_numpy(classes).flatten(0, 2), torch.from_numpy(numbers).flatten(0, 2))


def heard(film: Film, shape: AudioShape) -> TokenTruth:
    """What is to be heard in each token of a film's sound, without a batch."""
    seconds = shape.samples / shape.sample_rate / shape.tokens  # of a token
    middles_N = (np.arange(shape.tokens) + 0.5) * seconds
    classes, opening_N = np.zeros((shape.tokens, 2), np.int8), np.zeros(shape.tokens, np.float32)
    number_N = np.searchsorted(np.array(film.cut_times), middles_N, side="right")
    for number, (shot, begin) in enumerate(zip(film.shots, (0.0, *film.cut_times), strict=True)):
        inside_N = number_N == number
        story_N = middles_N - begin + shot.start
        for subject in shot.scene.subjects if "speech" not in shot.scene.muted else ():
            if subject.speech is not None:
                own_N = np.array(mouth(subject.speech, story_N.tolist())[0], np.float32) * inside_N
                classes[(own_N > OPEN) & (own_N > opening_N), 0] = _class("audio", "voice", subject.speech.voice)
                opening_N = np.maximum(opening_N, own_N)
        for contact in contacts(shot.scene) if "effects" not in shot.scene.muted else ():
            hit_N = inside_N & (abs(story_N - contact.time) <= HALF_TOKEN * seconds)
            classes[hit_N, 1] = _class("audio", "impact", contact.materials[0])
    return TokenTruth(torch.from_numpy(classes), torch.from_numpy(opening_N)[:, None])


def _grid(shape: VideoShape, window: tuple[int, int]) -> tuple[float, np.ndarray]:
    """The side of a token and the middles of all (x, y), in short sides of the window, around its middle."""
    token = shape.height / shape.latent_height / min(window)
    middles = [(np.arange(n) + 0.5 - n / 2) * token for n in (shape.latent_height, shape.latent_width)]
    return token, np.stack(np.meshgrid(*middles, indexing="ij")[::-1], axis=-1)


def _class(stream: str, slot: str, name: str) -> int:
    return SLOTS[stream][slot].index(name)


def _subject_classes(shot: Shot, subject: Subject) -> list[int]:
    names = {"kind": subject.kind, "colour": subject.colour, "motion": motion_name(subject, shot.camera.mirrored)}
    return [_class("video", slot, names[slot]) for slot in SLOTS["video"]]


class TokenHeads(nn.Module):
    """Linear heads on a tower's hidden states. Returns logits of each slot (B, N, classes) and numbers (B, N, P)."""

    def __init__(self, width: int, stream: str):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classify = nn.ModuleList(nn.Linear(width, len(names)) for names in SLOTS[stream].values())
        self.measure = nn.Linear(width, NUMBERS[stream])

    def forward(self, hidden_BND: Tensor) -> tuple[list[Tensor], Tensor]:
        hidden_BND = self.norm(hidden_BND)
        return [head(hidden_BND).float() for head in self.classify], self.measure(hidden_BND).float()


def token_error(said: tuple[list[Tensor], Tensor], true: TokenTruth, generated_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the slots plus the error of the numbers, over the tokens that were to be generated; and the
    share of subjects (tokens whose first slot is not `NONE`) whose slots are all named rightly."""
    logits, numbers_BNP = said
    count = generated_BN.sum().clamp(min=1)
    loss = torch.zeros((), device=numbers_BNP.device)
    right_BN = torch.ones_like(generated_BN, dtype=torch.bool)
    for each_BNC, class_BN in zip(logits, true.classes_BNK.long().unbind(-1), strict=True):
        wrong_BN = nn.functional.cross_entropy(each_BNC.transpose(1, 2), class_BN, reduction="none")
        loss = loss + (wrong_BN * generated_BN).sum() / count
        right_BN &= each_BNC.argmax(-1) == class_BN
    held_BN = generated_BN * (true.classes_BNK[..., 0] > 0)
    away_BN = nn.functional.smooth_l1_loss(numbers_BNP, true.numbers_BNP, reduction="none").mean(-1)
    held = held_BN.sum().clamp(min=1)
    return loss + (away_BN * held_BN).sum() / held, ((right_BN * held_BN).sum() / held).detach()


@contextmanager
def overheard(layer: nn.Module) -> Iterator[list]:
    """What `layer` returns while this is open, call by call."""
    outputs: list = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
