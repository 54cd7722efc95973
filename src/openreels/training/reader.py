"""Training of the layout reader: look at latents, say where everything is; of those of sounds, when it happens.

It learns from latents that are kept anyway: plain clips, and of the cases of the task table the true results (clothes,
weather, styles, moving cameras) and all that is handed over to look at.

Legend: B batch, S subjects, F latent frames, K numbers of a layout, N tokens of either stream, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

from openreels.media.folders import replaced_folder
from openreels.models.layout import CLASSES, MOUTH, THERE, TOUCH, sounding
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
NAMES = 4.0  # what an error of kind or colour weighs, against one of place: they are the last to be learnt


def new_reader(channels: int, sound_channels: int) -> LayoutReader:
    """Of the pocket's sizes, untrained. channels, sound_channels: of the codecs' latents."""
    return LayoutReader(channels, sound_channels, LAYOUT_CLASSES, SUBJECTS)


class Drawn(NamedTuple):
    """What a step works on: latents, of what shape the video is, whether they are those of its sound, and the layouts
    that are to be read."""

    latents_BNC: Tensor
    shape: VideoShape
    is_sound: bool
    layout_BSFK: Tensor


class ReaderTask(Task):
    """The squared error of the numbers, by the order of subjects in which it is smallest: none is asked for.

    latents: clips and cases that have a picture. weights: how often each kind is drawn, stills `STILL_WEIGHT` times
    as often.
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
        often = (weight * (STILL_WEIGHT if kind.frames == 1 else 1.0) for kind, weight in weights.items())
        self.kinds, self.weights = list(weights), torch.tensor(list(often))

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
        return Drawn(data.latents[stream][index, tokens].float(), shape, heard, torch.stack(layouts))

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
        return error_B.mean(), {"named": named.mean() if len(named) else 1.0}


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
