"""Layouts of films, as the world knows them: what a planner plans, a reader reads, and the transformer is told.

Legend: S subjects, F latent frames, M moments, K numbers of a layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from openreels.models.layout import (
    CLASSES,
    MOMENTS,
    MOUTH,
    RADIUS,
    THERE,
    TOUCH,
    X,
    Y,
    layout_numbers,
    left_to_right,
    sounding,
)
from openreels.types import VideoShape
from openreels.world import COLOURS, FACES, SHAPES, Film, Shot, contacts, mouth, tracks
from openreels.world.examples import Example, Reference, page_columns

__all__ = [
    "COLOUR_NAMES",
    "KINDS",
    "LAYOUT_CLASSES",
    "SUBJECTS",
    "followed_layouts",
    "layout_of",
    "places",
    "shots_of_latents",
    "shown_layouts",
]

KINDS, COLOUR_NAMES = (*SHAPES, *FACES), tuple(COLOURS)
LAYOUT_CLASSES = (len(KINDS), len(COLOUR_NAMES))
SUBJECTS = 2  # that a layout speaks of
TOUCH_SECONDS = 0.0625  # on either side of a touch, in which it fades


def layout_of(film: Film, shape: VideoShape, subjects: int = SUBJECTS) -> Tensor:
    """The layout (S, F, K) of a film's picture, float32. subjects: S; where a scene has more of them, those that its
    shot shows come first. Whoever is out of view in a latent frame is not there."""
    out = np.zeros((subjects, shape.latent_frames, layout_numbers(LAYOUT_CLASSES)), np.float32)
    halves = np.array([shape.width, shape.height]) / min(shape.width, shape.height) / 2
    for shot, inside_F, ends_F2 in shots_of_latents(film, shape):
        if not shot.scene.subjects:
            continue
        moments_FM = ends_F2[:, :1] + (ends_F2[:, 1:] - ends_F2[:, :1]) * np.linspace(0.0, 1.0, MOMENTS)
        places_SFM2, radius_SF, angle_SFM = places(shot, moments_FM)
        events_SFM2 = _mouths_and_touches(shot, shot.start + moments_FM * shot.duration)
        for slot, index in enumerate(_cast(shot, subjects)):
            subject = shot.scene.subjects[index]
            x_FM, y_FM = np.moveaxis(places_SFM2[index], -1, 0)
            turn_FM = angle_SFM[index]
            told = np.zeros((len(x_FM), out.shape[-1]), np.float32)
            told[:, : MOUTH.start] = np.concatenate([x_FM, y_FM, np.cos(turn_FM), np.sin(turn_FM)], -1)
            told[:, MOUTH], told[:, TOUCH] = np.moveaxis(events_SFM2[index], -1, 0)
            told[:, THERE], told[:, RADIUS] = 1.0, radius_SF[index]
            told[:, CLASSES + KINDS.index(subject.kind)] = 1.0
            told[:, CLASSES + len(KINDS) + COLOUR_NAMES.index(subject.colour)] = 1.0
            beyond_FM2 = abs(places_SFM2[index]) - radius_SF[index][:, None, None] - halves
            told[(beyond_FM2 > 0).any(-1).all(-1)] = 0.0  # out of view all the time
            out[slot, inside_F] = told
    return torch.from_numpy(out)


def shown_layouts(example: Example, shape: VideoShape) -> list[Tensor]:
    """Layouts (S, F', K) of all that a case hands over to look at, subjects from left to right: references in their
    order, then what is known of the clip itself (`followed_layouts`). shape: of the case's result."""
    shown = [_shown_layout(reference, shape) for reference in example.references if reference.kind != "audio"]
    return [*(left_to_right(layout_SFK[None])[0] for layout_SFK in shown), *followed_layouts(example, shape)]


def followed_layouts(example: Example, shape: VideoShape) -> list[Tensor]:
    """Layouts (S, F, K) of what a case hands over of the clip itself, subjects from left to right: the clip that is
    edited, or given whole, or what is kept of it from its first frame on (where nothing is kept nobody is there); then
    what is heard of a sound that is given whole."""
    found = []
    if example.source is not None:
        found.append(layout_of(example.source, shape))
    elif example.given == "picture":
        found.append(layout_of(example.target, shape))
    elif example.kept:
        start, end = example.kept[0]
        kept = ceil(end * shape.fps - 1e-6) if start == 0 else 0
        found.append(layout_of(example.target, shape))
        found[-1][:, (kept + MOMENTS - 1) // MOMENTS :] = 0.0
    if example.given == "sound":
        found.append(sounding(layout_of(example.target, shape)[None])[0])
    return [left_to_right(layout_SFK[None])[0] for layout_SFK in found]


def _shown_layout(reference: Reference, shape: VideoShape) -> Tensor:
    """Of a page of panels: who is in the first one, where these are on the page."""
    frames = 1 if reference.kind == "image" else round(reference.films[0].duration * shape.fps)
    own = replace(shape, frames=frames, latent_frames=1 + (frames - 1) // MOMENTS)
    film = reference.films[0]
    shot = film.shots[0]
    begun = replace(shot, start=shot.start + reference.moment, duration=shot.duration - reference.moment)
    layout_SFK = layout_of(replace(film, shots=(begun, *film.shots[1:])), own)
    columns = page_columns(len(reference.films))
    return layout_SFK if columns == 1 else _in_a_corner(layout_SFK, columns, own)


def _in_a_corner(layout_SFK: Tensor, columns: int, shape: VideoShape) -> Tensor:
    """The layout of a picture that is shown in the first place of a page of so many columns and rows."""
    out_SFK = layout_SFK.clone()
    for part, pixels in ((X, shape.width), (Y, shape.height)):
        first = -(1 - 1 / columns) * pixels / min(shape.width, shape.height) / 2
        out_SFK[..., part] = layout_SFK[..., part] / columns + first
    out_SFK[..., RADIUS] /= columns
    return out_SFK * (layout_SFK[..., THERE, None] > 0.5)


def _cast(shot: Shot, most: int) -> list[int]:
    """Of its scene's subjects, in their order, at most so many."""
    everyone = range(len(shot.scene.subjects))
    if len(everyone) <= most:
        return list(everyone)
    seen = shot.seen
    return sorted(sorted(everyone, key=lambda index: index not in seen)[:most])


def _mouths_and_touches(shot: Shot, story_FM: np.ndarray) -> np.ndarray:
    """Of every subject at moments of its scene, (S, F, M, 2): opening of its mouth, and 1 at a touch."""
    out_SFM2 = np.zeros((len(shot.scene.subjects), *story_FM.shape, 2), np.float32)
    for index, subject in enumerate(shot.scene.subjects):
        if subject.speech is not None:
            opening = np.array(mouth(subject.speech, story_FM.ravel().tolist())[0])
            out_SFM2[index, ..., 0] = opening.reshape(story_FM.shape)
    for contact in contacts(shot.scene):
        touch_FM = (1.0 - abs(story_FM - contact.time) / TOUCH_SECONDS).clip(0.0, 1.0)
        for index in contact.subjects:
            out_SFM2[index, ..., 1] = np.maximum(out_SFM2[index, ..., 1], touch_FM)
    return out_SFM2


def shots_of_latents(film: Film, shape: VideoShape) -> Iterator[tuple[Shot, np.ndarray, np.ndarray]]:
    """Shots, which latent frames end in each (bool), and the first and last moment these show of it, (F, 2), as shares
    of its duration."""
    group = (shape.frames - 1) // max(shape.latent_frames - 1, 1)
    last_F = group * np.arange(shape.latent_frames) / float(shape.fps)
    first_F = np.maximum(last_F - max(group - 1, 0) / float(shape.fps), 0.0)  # a still has no group
    number_F = np.searchsorted(np.array(film.cut_times), last_F, side="right")
    for number, (shot, begin) in enumerate(zip(film.shots, (0.0, *film.cut_times), strict=True)):
        inside_F = number_F == number
        if inside_F.any():
            moments_F2 = np.stack([first_F[inside_F], last_F[inside_F]], -1)
            yield shot, inside_F, ((moments_F2 - begin) / shot.duration).clip(0.0, 1.0)


def places(shot: Shot, moments_FM: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the subjects are in the picture at the moments of a shot, shares of its duration: (S, F, M, x y), their
    radii (S, F), and how they are turned (S, F, M), clockwise."""
    path = tracks(shot.scene, shot.start + moments_FM.ravel() * shot.duration)
    views = [shot.camera if shot.move is None else shot.move.at(shot.camera, share) for share in moments_FM.ravel()]
    zoom_FM, x_FM, y_FM = (
        np.array([(view.zoom, view.x, view.y) for view in views]).reshape(*moments_FM.shape, 3).T.swapaxes(1, 2)
    )
    side = -1.0 if shot.camera.mirrored else 1.0
    x_SFM, y_SFM, angle_SFM = (each.reshape(-1, *moments_FM.shape) for each in (path.x_NT, path.y_NT, path.angle_NT))
    places_SFM2 = np.stack([side * (x_SFM - x_FM), y_SFM - y_FM], -1) * zoom_FM[..., None]
    return places_SFM2, path.radius_N[:, None] * zoom_FM[:, 1], side * angle_SFM
