"""The tasks of the training mixture as blank states: what is given, where, and which references stand before it.

Paper, "unified inpainting" and "in-context references". Legend: F Y X latent frames, rows, columns, C channels,
N = F * Y * X tokens, R reference tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from openreels.tasks.states import video_positions, video_state
from openreels.types import StreamState, VideoShape

__all__ = ["TASKS", "Task", "video_task", "with_references"]

Grid = tuple[int, int, int]


def _nothing(grid: Grid, generator: torch.Generator) -> Tensor:
    return torch.zeros(grid)


def _first_frame(grid: Grid, generator: torch.Generator) -> Tensor:
    mask_FYX = torch.zeros(grid)
    mask_FYX[0] = 1
    return mask_FYX


def _beginning(grid: Grid, generator: torch.Generator) -> Tensor:
    mask_FYX = torch.zeros(grid)
    mask_FYX[: int(torch.randint(1, max(grid[0], 2), (), generator=generator))] = 1
    return mask_FYX


def _around_a_box(grid: Grid, generator: torch.Generator) -> Tensor:
    """Given outside a box of a quarter to three quarters of each side that drifts from one place to another."""
    frames, rows, columns = grid
    mask_FYX = torch.ones(grid)
    share, start, end = (torch.rand(2, generator=generator) for _ in range(3))
    sides = [max(1, round(n * float(0.25 + 0.5 * s))) for n, s in zip((rows, columns), share, strict=True)]
    for frame, along in enumerate(torch.linspace(0, 1, frames)):
        place = start + (end - start) * along
        top, left = (round(float(p) * (n - s)) for p, n, s in zip(place, (rows, columns), sides, strict=True))
        mask_FYX[frame, top : top + sides[0], left : left + sides[1]] = 0
    return mask_FYX


@dataclass(frozen=True)
class Task:
    """One row of the training mixture.

    still: of single pictures. streams: the towers that run. given: the mask, 1 where latents are given, from the grid.
    reference: "image" or "video" in context, or None.
    """

    still: bool
    streams: tuple[str, ...]
    given: Callable[[Grid, torch.Generator], Tensor] = _nothing
    reference: str | None = None

    @property
    def reaches(self) -> frozenset[str]:
        """Parts of the model ("video", "audio", "cross") that its loss reaches: cross alone where both towers run."""
        return frozenset(self.streams) | ({"cross"} if len(self.streams) == 2 else frozenset())


VIDEO, AUDIO, BOTH = ("video",), ("audio",), ("video", "audio")
TASKS = {
    "text-to-image": Task(True, VIDEO),
    "image-inpainting": Task(True, VIDEO, _around_a_box),
    "text-to-video": Task(False, VIDEO),
    "image-to-video": Task(False, VIDEO, _first_frame),
    "video-extension": Task(False, VIDEO, _beginning),
    "video-editing": Task(False, VIDEO, _around_a_box),
    "image-reference": Task(False, VIDEO, reference="image"),
    "video-reference": Task(False, VIDEO, reference="video"),
    "text-to-audio": Task(False, AUDIO),
    "text-to-video-audio": Task(False, BOTH),
    "image-to-video-audio": Task(False, BOTH, _first_frame),
    "video-audio-extension": Task(False, BOTH, _beginning),
    "video-audio-editing": Task(False, BOTH, _around_a_box),
    "image-reference-audio": Task(False, BOTH, reference="image"),
    "video-reference-audio": Task(False, BOTH, reference="video"),
}


def video_task(task: Task, data_NC: Tensor, shape: VideoShape, generator: torch.Generator) -> StreamState:
    """The blank state, batch 1, of a task on a clip's latents; references are added by `with_references`.

    What is given is cut out of the latents of the complete clip. For whole latent frames from the start on these are
    what a request gives, as codecs are causal. Around a box they are not: a request's are of the kept pixels on black
    (`tasks.conditions.kept_latents`), and these here know something of what the box hides, as far as the codec reaches.
    """
    mask_FYX = task.given((shape.latent_frames, shape.latent_height, shape.latent_width), generator)
    mask_1N1 = mask_FYX.reshape(1, -1, 1)
    return replace(video_state(shape, 1), mask_BN1=mask_1N1, given_BNC=data_NC[None].float() * mask_1N1)


def with_references(blank: StreamState, references_NC: Sequence[Tensor], grids: Sequence[Grid]) -> StreamState:
    """Pictures and clips of any number as references: frame i of all their n frames together stands at time i - n."""
    if not references_NC:
        return blank
    total = sum(frames for frames, _, _ in grids)
    positions, before = [], 0
    for frames, rows, columns in grids:
        shape = VideoShape(frames, rows, columns, 1, frames, rows, columns, blank.noisy_BNC.shape[-1])
        positions_NP = video_positions(shape)
        positions_NP[:, 0] += before - total
        positions.append(positions_NP)
        before += frames
    return replace(
        blank,
        reference_BRC=torch.cat(list(references_NC))[None].float(),
        reference_positions_RP=torch.cat(positions),
    )
