"""Cases to pictures and sound: what is handed over and what should come out, many at once.

Shots that are seen alike (same camera, moment, number of frames and size) are drawn together, so a batch of cases is
quicker than one after the other. Legend: T frames  H, W pixels  S samples  t frames of a reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from openreels.world.camera import STRAIGHT, Camera
from openreels.world.examples.example import Example, Reference
from openreels.world.examples.rows import ROWS
from openreels.world.films import Film
from openreels.world.motion import tracks
from openreels.world.rendering import masks, render_frames
from openreels.world.script import Scene
from openreels.world.sound import SAMPLE_RATE, render_sound

__all__ = ["Shown", "page_columns", "show", "show_many"]

MARGIN = 0.05  # short sides that a region reaches beyond its subjects
SHADOW_WIDTH, SHADOW_HEIGHT, SHADOW_DROP = 0.87, 0.04, 0.025  # in radii; short sides; below the floor line


@dataclass(frozen=True, eq=False)
class Shown:
    """One case as media.

    frames: uint8 (T, H, W, 3), the true result; None where the row has no picture. T is 1 for a still.
    audio: float32 (S,), None where the row has no sound.
    source_frames, source_audio: of the clip that is edited, as `frames` and `audio`; None without one.
    regenerate: bool (T, H, W), True where a region is made anew, None without one; elsewhere `frames` are
        `source_frames` bit for bit.
    keep: bool (T, H, W), True where `frames` are handed over as they are: kept spans, outside of a region.
    references: in the order of the case; pictures uint8 (1, H, W, 3), clips uint8 (t, H, W, 3), sounds float32 (S,).
    """

    frames: Tensor | None
    audio: Tensor | None
    source_frames: Tensor | None
    source_audio: Tensor | None
    regenerate: Tensor | None
    keep: Tensor
    references: tuple[Tensor, ...]
    fps: float
    sample_rate: int


@dataclass(frozen=True)
class _Size:
    height: int
    width: int
    safe_height: int
    safe_width: int

    def divided(self, parts: int) -> _Size:
        return _Size(self.height // parts, self.width // parts, self.safe_height // parts, self.safe_width // parts)

    @property
    def arguments(self) -> dict[str, int]:
        return {
            "height": self.height, "width": self.width, "safe_height": self.safe_height, "safe_width": self.safe_width,
        }  # fmt: skip


@dataclass(frozen=True)
class _Take:
    """Successive frames of one shot."""

    scene: Scene
    camera: Camera | tuple[Camera, ...]
    start: float
    frames: int
    size: _Size

    @property
    def look(self) -> tuple:
        """Takes with the same are drawn in one call."""
        return self.camera, self.start, self.frames, self.size


class _Studio:
    """Collects takes, draws them together, hands them out."""

    def __init__(self, fps: float, device: torch.device | str) -> None:
        self.fps, self.device = fps, device
        self.wanted: defaultdict[tuple, dict[Scene, None]] = defaultdict(dict)
        self.drawn: dict[_Take, Tensor] = {}

    def order(self, take: _Take) -> _Take:
        self.wanted[take.look][take.scene] = None
        return take

    def draw(self) -> None:
        for (camera, start, frames, size), scenes in self.wanted.items():
            pictures = render_frames(
                list(scenes), fps=self.fps, frames=frames, start=start, camera=camera, device=self.device,
                **size.arguments,
            )  # fmt: skip
            for scene, frames_THWC in zip(scenes, pictures, strict=True):
                self.drawn[_Take(scene, camera, start, frames, size)] = frames_THWC

    def film(self, film: Film, frames: int, size: _Size, first: float = 0.0) -> list[_Take]:
        """`frames` frames of a film from `first` seconds on; its last shot goes on as long as is needed."""
        takes, begun = [], 0.0
        for index, shot in enumerate(film.shots):
            last = index == len(film.shots) - 1
            times = [first + i / self.fps for i in range(frames)]
            ended = begun + shot.duration - 1e-9
            inside = [time for time in times if begun - 1e-9 <= time and (last or time < ended)]
            if inside:
                camera = shot.camera
                if shot.move is not None:
                    shares = [min((time - begun) / shot.duration, 1.0) for time in inside]
                    camera = tuple(shot.move.at(shot.camera, share) for share in shares)
                takes.append(self.order(_Take(shot.scene, camera, shot.start + inside[0] - begun, len(inside), size)))
            begun += shot.duration
        return takes

    def frames(self, takes: Sequence[_Take]) -> Tensor:
        return torch.cat([self.drawn[take] for take in takes]) if len(takes) > 1 else self.drawn[takes[0]]


def _sound(film: Film, samples: int, rate: int, device: torch.device | str) -> Tensor:
    """float32 (S,); while the scene stays the same, sound goes on over a cut."""
    parts, begun, done = [], 0.0, 0
    for index, shot in enumerate(film.shots):
        begun += shot.duration
        end = samples if index == len(film.shots) - 1 else min(round(begun * rate), samples)
        if end > done:
            sound = render_sound([shot.scene], samples=end - done, sample_rate=rate, start=shot.start, device=device)
            parts.append(sound[0])
            done = end
    return torch.cat(parts)


# -- references -------------------------------------------------------------------------------------------------------


def page_columns(panels: int) -> int:
    """Rows and columns of a page of panels."""
    return ceil(sqrt(panels))


def _order_reference(studio: _Studio, reference: Reference, size: _Size) -> list[list[_Take]]:
    if reference.kind == "audio":
        return []
    if reference.kind == "video":
        (film,) = reference.films
        return [studio.film(film, round(film.duration * studio.fps), size)]
    size = size.divided(page_columns(len(reference.films)))
    return [studio.film(film, 1, size, reference.moment) for film in reference.films]


def _page(panels: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Pictures (1, h, w, 3) on one page, the rest of it black."""
    columns = page_columns(len(panels))
    page = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=panels[0].device)
    for index, panel in enumerate(panels):
        h, w = panel.shape[1:3]
        row, column = divmod(index, columns)
        page[:, row * h : (row + 1) * h, column * w : (column + 1) * w] = panel
    return page


# -- regions ----------------------------------------------------------------------------------------------------------


def _grown(mask_THW: Tensor, pixels: int) -> Tensor:
    """Every True spreads to a square of this half size."""
    wide = F.max_pool2d(mask_THW.float(), (1, 2 * pixels + 1), 1, (0, pixels))
    return F.max_pool2d(wide, (2 * pixels + 1, 1), 1, (pixels, 0)) > 0


def _boxed(mask_THW: Tensor) -> Tensor:
    """One box round all that is True at any time."""
    rows, columns = mask_THW.any(0).any(1).nonzero(), mask_THW.any(0).any(0).nonzero()
    box = torch.zeros_like(mask_THW)
    if len(rows):
        box[:, rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[-1, 0] + 1] = True
    return box


def _shadow(scene: Scene, subject: int, fps: float, frames: int, size: _Size, device: torch.device | str) -> Tensor:
    """Where a subject's shadow may be, bool (T, H, W)."""
    unit = min(size.safe_height, size.safe_width)
    x_T = torch.from_numpy(tracks(scene, [i / fps for i in range(frames)]).x_NT[subject]).float().to(device)
    x_W = (torch.arange(size.width, device=device) + 0.5 - size.width / 2) / unit
    y_H = (torch.arange(size.height, device=device) + 0.5 - size.height / 2) / unit
    wide_TW = (x_W - x_T[:, None]).abs() < SHADOW_WIDTH * scene.subjects[subject].radius
    high_H = (y_H - scene.floor - SHADOW_DROP).abs() < SHADOW_HEIGHT
    return wide_TW[:, None] & high_H[None, :, None]


def _region(
    example: Example, silhouettes: tuple[Tensor, Tensor], shown: tuple[Tensor, Tensor], fps: float, size: _Size
) -> Tensor:
    """Where the case's region is made anew, bool (T, H, W).

    silhouettes: of the subjects of source and target, bool (N, T, H, W). shown: frames of both; whatever differs for
    another reason, such as light on glass, belongs to the region too.
    """
    region, scenes = example.region, (example.source.shots[0].scene, example.target.shots[0].scene)
    frames, device = len(shown[0]), shown[0].device
    if region.inverted:
        # Rims blend with what is behind them, so they are made anew.
        inside = torch.stack([silhouettes[0][i] & silhouettes[1][i] for i in region.subjects]).any(0)
        return _grown(~inside, 1)
    margin = max(round(MARGIN * min(size.safe_height, size.safe_width)), 2)
    result = torch.zeros(shown[0].shape[:3], dtype=torch.bool, device=device)
    for index in region.subjects:
        part = torch.zeros_like(result)
        for scene, silhouette in zip(scenes, silhouettes, strict=True):
            part |= silhouette[index] | _shadow(scene, index, fps, frames, size, device)
        result |= _grown(part if region.moving else _boxed(part), margin)
    return result | (shown[0] != shown[1]).any(-1)


def _straight(film: Film) -> Scene:
    (shot,) = film.shots
    if shot.camera != STRAIGHT or shot.move is not None or shot.start:
        raise ValueError("a case with a region must be seen straight, from its start and in one shot")
    return shot.scene


def _silhouettes(
    examples: Sequence[Example], fps: float, frames: int, size: _Size, device: torch.device | str
) -> dict[int, tuple[Tensor, Tensor]]:
    """Of source and target of the cases that have a region, by their place in the list."""
    places = [i for i, example in enumerate(examples) if example.region is not None]
    scenes = [_straight(film) for i in places for film in (examples[i].source, examples[i].target)]
    if not scenes:
        return {}
    found = masks(scenes, fps=fps, frames=frames, device=device, **size.arguments)
    return {i: (found[2 * n], found[2 * n + 1]) for n, i in enumerate(places)}


# -- cases ------------------------------------------------------------------------------------------------------------


def show_many(
    examples: Sequence[Example],
    *,
    frames: int,
    height: int,
    width: int,
    fps: float = 16,
    safe_height: int | None = None,
    safe_width: int | None = None,
    sample_rate: int = SAMPLE_RATE,
    device: torch.device | str = "cpu",
) -> list[Shown]:
    """The cases as media, each as `show` gives it."""
    size = _Size(height, width, safe_height or height, safe_width or width)
    studio = _Studio(fps, device)
    orders = []
    for example in examples:
        row = ROWS[example.row]
        count = 1 if row.still else frames
        target = studio.film(example.target, count, size) if row.has_picture else None
        source = studio.film(example.source, count, size) if example.source is not None else None
        orders.append((target, source, [_order_reference(studio, each, size) for each in example.references]))
    studio.draw()
    silhouettes = _silhouettes(examples, fps, frames, size, device)

    def sound(film: Film, seconds: float) -> Tensor:
        return _sound(film, round(seconds * sample_rate), sample_rate, device)

    result = []
    for index, (example, (target, source, ordered)) in enumerate(zip(examples, orders, strict=True)):
        row = ROWS[example.row]
        target_frames = studio.frames(target) if target is not None else None
        source_frames = studio.frames(source) if source is not None else None
        count = len(target_frames) if target_frames is not None else frames
        keep, regenerate = torch.zeros(count, height, width, dtype=torch.bool, device=device), None
        for start, end in example.kept:
            keep[max(ceil(start * fps - 1e-6), 0) : max(ceil(end * fps - 1e-6), 0)] = True
        if example.region is not None:
            regenerate = _region(example, silhouettes[index], (source_frames, target_frames), fps, size)
            keep |= ~regenerate
            target_frames = torch.where(regenerate[..., None], target_frames, source_frames)
        references = []
        for reference, takes in zip(example.references, ordered, strict=True):
            pictures = [studio.frames(each) for each in takes]
            if reference.kind == "audio":
                references.append(sound(reference.films[0], reference.films[0].duration))
            else:
                references.append(pictures[0] if len(pictures) == 1 else _page(pictures, height, width))
        result.append(
            Shown(
                frames=target_frames,
                audio=sound(example.target, count / fps) if row.has_sound else None,
                source_frames=source_frames,
                source_audio=sound(example.source, count / fps) if source is not None else None,
                regenerate=regenerate,
                keep=keep,
                references=tuple(references),
                fps=float(fps),
                sample_rate=sample_rate,
            )
        )
    return result


def show(example: Example, **arguments) -> Shown:
    """One case as media.

    The arguments of `show_many`: frames: of the target (a still has one). height, width: pixels of the canvas. fps.
    safe_height, safe_width: the part of the canvas that scenes fill, see `render_frames`. sample_rate: of sounds, Hz.
    Raises ValueError for a region in a case that is not seen straight and in one shot.
    """
    return show_many([example], **arguments)[0]
