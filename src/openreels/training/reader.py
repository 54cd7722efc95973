"""Training of the layout reader: look at latents, say where everything is; of those of sounds, when it happens.

It learns from latents that are kept anyway: plain clips, and of the cases of the task table the true results (clothes,
weather, styles, moving cameras) and all that is handed over to look at.

Legend: B batch, S subjects, F latent frames, K numbers of a layout, M moments of a latent frame, N tokens of either
stream, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

from openreels.media.folders import replaced_folder
from openreels.models.layout import CLASSES, MOMENTS, MOUTH, RADIUS, THERE, TOUCH, WAYS, sounding
from openreels.models.reader import LayoutReader
from openreels.nn.precision import autocast
from openreels.training.latents import Bucket, Codecs, LatentSet
from openreels.training.layouts import LAYOUT_CLASSES, SUBJECTS
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.types import VideoShape

__all__ = ["ReaderTask", "new_reader", "train_reader"]

TOKENS, LARGEST = 8_000, 256  # of a step; clips
HEARD_SHARE, HEARD_WEIGHT = 0.2, 10.0  # of steps on clips with sound, that on it; and what its error weighs
STILL_WEIGHT = 4.0  # how much more often stills are drawn: one moment, of which a portrait or a first frame is all
PAGE_WEIGHT = 10.0  # the same of storyboards: a page shows everything at a half or a third of its size
MOUTH_WEIGHT = 10.0  # of the error of mouths, which are mostly shut
MOUTH_ERROR = 0.02  # short sides: where a mouth is looked for, faces will have been read
NAMES = 4.0  # what an error of kind or colour weighs, against one of place: they are the last to be learnt


def new_reader(channels: int, sound_channels: int) -> LayoutReader:
    """Of the pocket's sizes, untrained. channels, sound_channels: of the codecs' latents."""
    return LayoutReader(channels, sound_channels, LAYOUT_CLASSES, SUBJECTS)


class Drawn(NamedTuple):
    """What a step works on: latents, of what shape the video is, whether they are those of its sound, the layouts that
    are to be read, and how far away from its place every subject is looked at in the face (`WAYS` numbers)."""

    latents_BNC: Tensor
    shape: VideoShape
    is_sound: bool
    layout_BSFK: Tensor
    error_BSK: Tensor


class ReaderTask(Task):
    """The squared error of the numbers, by the order of subjects in which it is smallest: none is asked for.

    latents: clips and cases that have a picture. weights: how often each kind is drawn, stills and storyboards so many
    times as often (`STILL_WEIGHT`, `PAGE_WEIGHT`).
    """

    name = "reader"

    def __init__(
        self,
        reader: LayoutReader,
        latents: Mapping[Bucket, LatentSet],
        weights: Mapping[Bucket, float],
        muon_lr: float = 0.01,
        adamw_lr: float = 1e-3,
    ):
        self.reader, self.latents = reader, latents
        self.modules = {"reader": reader}
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=adamw_lr)
        self.kinds = list(weights)
        self.weights = torch.tensor([weight * _more(kind) for kind, weight in weights.items()])

    @property
    def samples_per_step(self) -> int:
        sizes = torch.tensor([self._batch(self.latents[bucket].video_shape) for bucket in self.kinds])
        return round(float((sizes * self.weights).sum() / self.weights.sum()))

    @staticmethod
    def _batch(shape: VideoShape) -> int:
        return min(LARGEST, TOKENS // shape.tokens)

    def draw(self, step: int, generator: torch.Generator) -> Drawn:
        data = self.latents[self.kinds[int(torch.multinomial(self.weights, 1, generator=generator))]]
        heard = "audio" in data.latents and float(torch.rand((), generator=generator)) < HEARD_SHARE
        views = [View("audio", slice(None), data.video_shape, None)] if heard else views_of(data)
        stream, tokens, shape, number = views[int(torch.randint(len(views), (), generator=generator))]
        index = torch.randint(len(data), (self._batch(shape),), generator=generator)
        layouts = [data.layout(i) if number is None else data.shown(i)[number] for i in index.tolist()]
        error_BSK = torch.randn(len(index), len(layouts[0]), 2, generator=generator) * MOUTH_ERROR
        error_BSK = error_BSK.repeat_interleave(WAYS // 2, -1)
        return Drawn(data.latents[stream][index, tokens].float(), shape, heard, torch.stack(layouts), error_BSK)

    def loss(self, drawn: Drawn) -> tuple[Tensor, dict[str, float | Tensor]]:
        device = self.reader.device
        latents_BNC, layout_BSFK = drawn.latents_BNC.to(device), drawn.layout_BSFK.to(device)
        if drawn.is_sound:
            with autocast(device):
                heard_BFM = self.reader.forward_sound(latents_BNC, drawn.shape.latent_frames)
            true_BFM = sounding(layout_BSFK)[:, 0, :, MOUTH.start : TOUCH.stop]
            error = (heard_BFM.float() - true_BFM).square().mean()
            return HEARD_WEIGHT * error, {"heard": error.detach() / true_BFM.var().clamp(min=1e-6)}
        true_BSFK = self.reader.normalised(layout_BSFK)
        with autocast(device):
            found_BSFK = self.reader(latents_BNC, drawn.shape)
        seen = self._mouths(latents_BNC, layout_BSFK, drawn)
        orders = [list(order) for order in permutations(range(true_BSFK.shape[1]))]
        weight_K = torch.ones(true_BSFK.shape[-1], device=device)
        weight_K[CLASSES:] = NAMES
        errors = [((found_BSFK.float() - true_BSFK[:, order]).square() * weight_K).mean((1, 2, 3)) for order in orders]
        error_B, chosen_B = torch.stack(errors).min(0)
        with torch.no_grad():
            true_BSFK = true_BSFK[torch.arange(len(chosen_B))[:, None], torch.tensor(orders, device=device)[chosen_B]]
            right = [
                found_BSFK[..., part].argmax(-1) == true_BSFK[..., part].argmax(-1)
                for part in (slice(CLASSES, CLASSES + LAYOUT_CLASSES[0]), slice(CLASSES + LAYOUT_CLASSES[0], None))
            ]
            there_BSF = true_BSFK[..., THERE] > 0
            named = (right[0] & right[1])[there_BSF].float()
        return error_B.mean() + seen, {"named": named.mean() if len(named) else 1.0, "mouths": seen.detach()}

    def _mouths(self, latents_BNC: Tensor, layout_BSFK: Tensor, drawn: Drawn) -> Tensor:
        """The squared error of what is seen of the mouths of those who are there."""
        near_BSFK = layout_BSFK.clone()
        near_BSFK[..., :WAYS] += drawn.error_BSK.to(layout_BSFK.device)[:, :, None]
        with autocast(latents_BNC.device):
            found_BSFM = self.reader.forward_mouths(latents_BNC, near_BSFK, drawn.shape)
        there_BSF1 = (layout_BSFK[..., THERE, None] > 0.5) & (layout_BSFK[..., RADIUS, None] > 0)
        error_BSFM = (found_BSFM.float() - layout_BSFK[..., MOUTH]).square() * there_BSF1
        return MOUTH_WEIGHT * error_BSFM.sum() / (MOMENTS * there_BSF1.sum().clamp(min=1))


def _more(kind: Bucket) -> float:
    return STILL_WEIGHT if kind.frames == 1 else PAGE_WEIGHT if kind.row == "storyboard" else 1.0


class View(NamedTuple):
    """What of a kind of clip can be looked at: in which tensor, which of its tokens, and whose layout it is: of its own
    (None), or of what is shown beside it."""

    stream: str
    tokens: slice
    shape: VideoShape
    number: int | None


def views_of(data: LatentSet) -> list[View]:
    """The clips themselves, then every reference in context."""
    shape = data.video_shape
    views = [View("video", slice(None), shape, None)] if "video" in data.latents else []
    references, begun = data.latents.get("video.reference_BRC"), 0
    if references is None:
        return views
    for number, layout_SFK in enumerate(data.shown(0)):
        own = replace(shape, frames=4 * layout_SFK.shape[1] - 3, latent_frames=layout_SFK.shape[1])
        if begun < references.shape[1]:  # the source of a masked edit is not in context
            views.append(View("video.reference_BRC", slice(begun, begun + own.tokens), own, number))
        begun += own.tokens
    return views


def train_reader(
    codecs: Codecs, latents: Mapping[Bucket, LatentSet], weights: Mapping[Bucket, float], config: LoopConfig
) -> LayoutReader:
    """Train (or go on training, with what was brought there) and save `reader` to the work folder."""
    torch.manual_seed(config.seed)
    folder, channels = (
        config.workdir / "reader",
        (codecs.video.vae.config.latent_channels, codecs.audio.latent_channels),
    )
    reader = LayoutReader.from_pretrained(folder) if folder.is_dir() else new_reader(*channels)
    run(ReaderTask(reader.to(config.device), latents, weights), config)
    with replaced_folder(folder) as part:
        reader.save_pretrained(part)
    return reader
