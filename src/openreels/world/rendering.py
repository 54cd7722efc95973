"""Scenes to pictures: backgrounds once per clip, each subject only in its own patch of pixels, grouped by kind.

A camera that moves has its own numbers for each frame; what is said below of N subjects' pixel sizes, (N, 1) for a
still one, is then (N, T).

Legend: B scenes  S subjects of a scene  T frames  H, W pixels  C = 3 channels  N subjects drawn together
P, Q patch rows and columns. Pixels are 0..255. To the byte, the result of a scene does not depend on the other scenes
of its batch.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openreels.world import backdrops, shapes, wardrobe
from openreels.world.camera import STRAIGHT, Camera
from openreels.world.finishing import finish, is_finished
from openreels.world.motion import evaluate, mouth, pieces
from openreels.world.screen import Screen
from openreels.world.script import COLOURS, FACES, SHAPES, Scene, Subject

__all__ = ["masks", "render_frames"]

REACH = dict.fromkeys(SHAPES, 1.06) | {"person": 1.08, "cat": 1.2, "robot": 1.34}  # patch half size, in radii
# Pixels drawn together. More is quicker by fewer calls, until the frames no longer fit the caches.
CHUNK_PIXELS = {"cpu": 96 * 17 * 64 * 64, "cuda": 1024 * 17 * 64 * 64}
BLINK = 0.14  # seconds
_MATERIAL = {"rubber": 0, "metal": 1, "wood": 2, "glass": 3}


@dataclass(frozen=True)
class _Window:
    """Pixel geometry. unit: pixels per short side; x = 0, y = 0 of a scene lies at pixel (centre_x, centre_y).

    These are numbers, or arrays (T,) where the camera moves.
    """

    height: int
    width: int
    unit: float | np.ndarray
    centre_x: float | np.ndarray
    centre_y: float | np.ndarray

    @property
    def moves(self) -> bool:
        return isinstance(self.unit, np.ndarray)


def _window(screen: Screen, camera: Camera | Sequence[Camera]) -> _Window:
    def geometry(zoom, x, y):
        unit = float(screen.unit) * zoom
        return unit, screen.width * 0.5 - x * unit, screen.height * 0.5 - y * unit

    if isinstance(camera, Camera):
        return _Window(screen.height, screen.width, *geometry(camera.zoom, camera.x, camera.y))
    path_TC = np.array([(view.zoom, view.x, view.y) for view in camera], dtype=np.float64)
    return _Window(screen.height, screen.width, *geometry(*path_TC.T))


def _look(camera: Camera | Sequence[Camera], frames: int) -> Camera:
    """The camera's mirroring and turn, which it keeps while it moves."""
    if isinstance(camera, Camera):
        return camera
    if len(camera) != frames or len({(view.mirrored, view.turn) for view in camera}) != 1:
        raise ValueError(
            f"camera must be one, or one for each of the {frames} frames with the same mirroring and turn, "
            f"not {len(camera)} of {len({(view.mirrored, view.turn) for view in camera})} kinds"
        )
    return camera[0]


def _turned(scenes: Sequence[Scene], camera: Camera) -> Sequence[Scene]:
    if not camera.turn:
        return scenes
    return [replace(scene, variant=(scene.variant + camera.turn) % 256) for scene in scenes]


@dataclass(frozen=True)
class _Actor:
    """A subject with its numbers per frame, in pixels. scene: row of the batch. slot: its index in the scene."""

    scene: int
    slot: int
    subject: Subject
    night: bool
    floor: float | np.ndarray
    x_T: np.ndarray
    y_T: np.ndarray
    angle_T: np.ndarray
    radius: float | np.ndarray


def _actors(scenes: Sequence[Scene], times_T: np.ndarray, window: _Window) -> list[_Actor]:
    owners = [(row, slot, subject) for row, scene in enumerate(scenes) for slot, subject in enumerate(scene.subjects)]
    if not owners:
        return []
    x_NT, y_NT, angle_NT, _ = evaluate([pieces(scenes[row], subject)[0] for row, _, subject in owners], times_T)
    return [
        _Actor(
            row,
            slot,
            subject,
            scenes[row].night,
            scenes[row].floor * window.unit + window.centre_y,
            x_NT[i] * window.unit + window.centre_x,
            y_NT[i] * window.unit + window.centre_y,
            angle_NT[i],
            subject.radius * window.unit,
        )
        for i, (row, slot, subject) in enumerate(owners)
    ]


def _tensor(values: Sequence, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)


def _columns(values: Sequence[float | np.ndarray], device: torch.device | str) -> Tensor:
    """One number of each subject, (N, 1), or for a moving camera one per frame, (N, T)."""
    numbers = _tensor(values, device)
    return numbers if numbers.ndim == 2 else numbers[:, None]


def _background_in_motion(scene: Scene, window: _Window, device: torch.device | str) -> Tensor:
    """Packed pixels, int32 (T, H, W)."""
    unit, centre_x, centre_y = (
        _tensor(value, device)[:, None, None] for value in (window.unit, window.centre_x, window.centre_y)
    )
    x_T1W = (torch.arange(window.width, device=device, dtype=torch.float32) + 0.5 - centre_x) / unit
    y_TH1 = (torch.arange(window.height, device=device, dtype=torch.float32)[:, None] + 0.5 - centre_y) / unit
    variant = torch.full_like(unit, scene.variant)
    return _pack(backdrops.paint(scene.background, scene.night, x_T1W, scene.floor - y_TH1, variant, 1.0 / unit))


def _backgrounds(scenes: Sequence[Scene], window: _Window, device: torch.device | str) -> Tensor:
    """Packed pixels, int32 (B, H, W), or (B, T, H, W) where the camera moves."""
    if window.moves:
        return torch.stack([_background_in_motion(scene, window, device) for scene in scenes])
    result = torch.empty(len(scenes), window.height, window.width, dtype=torch.int32, device=device)
    columns = torch.arange(window.width, device=device, dtype=torch.float32)
    rows = torch.arange(window.height, device=device, dtype=torch.float32)
    x_W = (columns + 0.5 - window.centre_x) / window.unit
    y_H = (rows + 0.5 - window.centre_y) / window.unit
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        groups[scene.background, scene.night].append(index)
    for (background, night), members in groups.items():
        floor = _tensor([scenes[i].floor for i in members], device)[:, None, None]
        variant = _tensor([scenes[i].variant for i in members], device)[:, None, None]
        up = floor - y_H[None, :, None]
        picture = backdrops.paint(background, night, x_W[None, None], up, variant, 1.0 / window.unit)
        result[torch.tensor(members, device=device)] = _pack(picture)
    return result


@dataclass(frozen=True)
class _Patch:
    """Pixels round N subjects. flat_NTPQ: index into the flattened frames (out of view: the spare last pixel).

    dx, dy: pixels from the subject's centre to the pixel's centre, dx (N, T, 1, Q), dy (N, T, P, 1).
    """

    flat_NTPQ: Tensor
    dx: Tensor
    dy: Tensor


def _patch(
    actors: list[_Actor], x_NT: Tensor, y_NT: Tensor, half_width: float, half_height: float, window: _Window
) -> _Patch:
    device, frames = x_NT.device, x_NT.shape[1]
    left, top = (x_NT - half_width).floor(), (y_NT - half_height).floor()
    columns = left[..., None] + torch.arange(int(2 * half_width) + 2, device=device)
    rows = top[..., None] + torch.arange(int(2 * half_height) + 2, device=device)
    dx = (columns + 0.5 - x_NT[..., None])[:, :, None, :]
    dy = (rows + 0.5 - y_NT[..., None])[..., None]
    scene = torch.tensor([actor.scene for actor in actors], device=device)
    frame = scene[:, None] * frames + torch.arange(frames, device=device)
    ok_row, ok_column = (rows >= 0) & (rows < window.height), (columns >= 0) & (columns < window.width)
    line = (frame[..., None] * window.height + rows.long()) * window.width
    flat = line[..., None] + columns.long()[:, :, None, :]
    flat = torch.where(ok_row[..., None] & ok_column[:, :, None, :], flat, -1)
    return _Patch(flat, dx, dy)


def _gather(frames_M: Tensor, flat: Tensor) -> Tensor:
    """Pixels as float planes, (3, ...)."""
    packed = frames_M[flat]
    return torch.stack((packed & 255, (packed >> 8) & 255, packed >> 16)).float()


def _pack(planes: Tensor) -> Tensor:
    """Float planes (3, ...) in 0..255 to pixels, int32."""
    whole = planes.round().to(torch.int32)
    return whole[0] + whole[1] * 256 + whole[2] * 65536


def _blend(frames_M: Tensor, patch: _Patch, planes: Tensor | float, cover_NTPQ: Tensor) -> None:
    """Lay a colour (float planes (3, N, T, P, Q) or grey) over the frames."""
    under = _gather(frames_M, patch.flat_NTPQ)
    frames_M[patch.flat_NTPQ] = _pack(under + (planes - under) * cover_NTPQ)


def _largest(actors: list[_Actor]) -> float:
    return max(float(np.max(actor.radius)) for actor in actors)


def _shadows(frames_M: Tensor, actors: list[_Actor], window: _Window) -> None:
    """A soft ellipse on the ground; it widens and fades with height, so that contacts can be seen."""
    device = frames_M.device
    if not actors:
        return
    x_NT = _tensor([actor.x_T for actor in actors], device)
    floor = _columns([actor.floor for actor in actors], device)
    radius = _columns([actor.radius for actor in actors], device)
    unit = _tensor(window.unit, device) if window.moves else window.unit
    gap_NT = ((floor - _tensor([actor.y_T for actor in actors], device)) / radius - 0.8).clamp(0.0, 4.0)
    y_NT = (floor + 0.025 * unit).expand_as(x_NT)
    half_width = radius * (0.85 - 0.08 * gap_NT)
    half_height = 0.036 * unit
    patch = _patch(actors, x_NT, y_NT, _largest(actors) * 0.87, 0.036 * float(np.max(window.unit)), window)
    if window.moves:
        half_height = half_height[:, None, None]
    u, v = patch.dx / half_width[..., None, None], patch.dy / half_height
    cover = (1.0 - (u * u + v * v)).clamp(0.0, 0.5) * (1.0 - 0.22 * gap_NT)[..., None, None].clamp(min=0.1) * 0.9
    _blend(frames_M, patch, 0.0, cover)


def _lerp(base: Tensor, planes: Tensor | float, cover: Tensor) -> Tensor:
    return base + (planes - base) * cover


def _paints(actors: list[_Actor], device: torch.device) -> Tensor:
    """The subjects' colours as planes (3, N, 1, 1, 1), 0..255."""
    return _tensor([COLOURS[actor.subject.colour] for actor in actors], device).T[:, :, None, None, None]


def _plane(red: float, green: float, blue: float, device: torch.device) -> Tensor:
    return torch.tensor((red, green, blue), device=device)[:, None, None, None, None]


def _cover(distance: Tensor, px: Tensor) -> Tensor:
    """Antialiased inside-ness 0..1."""
    return (0.5 - distance * px).clamp(0.0, 1.0)


def _draw_shapes(frames_M: Tensor, kind: str, actors: list[_Actor], window: _Window) -> None:
    device = frames_M.device
    x_NT, y_NT = _tensor([a.x_T for a in actors], device), _tensor([a.y_T for a in actors], device)
    largest = _largest(actors)
    patch = _patch(actors, x_NT, y_NT, largest * REACH[kind] + 1, largest * REACH[kind] + 1, window)
    px = _columns([actor.radius for actor in actors], device)[..., None, None]
    u, v = patch.dx / px, patch.dy / px  # upright, for light
    turn = np.stack([actor.angle_T for actor in actors])
    cosine, sine = _tensor(np.cos(turn), device)[..., None, None], _tensor(np.sin(turn), device)[..., None, None]
    x, y = cosine * u + sine * v, cosine * v - sine * u
    distance = shapes.OUTLINES[kind](x, y)
    cover = _cover(distance, px)
    material = torch.tensor([_MATERIAL[actor.subject.material or "rubber"] for actor in actors], device=device)
    material = material[:, None, None, None]
    light = torch.tensor([0.92 if actor.night else 1.0 for actor in actors], device=device)[:, None, None, None]

    # Brightness: light from above left, matter by matter, then the dark rim.
    shade = 1.0 - 0.10 * v - 0.05 * u
    metal, wood, glass = material == 1, material == 2, material == 3
    stripe = (y * 3.0 + 0.25 * x).abs()
    stripe = (stripe - stripe.floor() - 0.5).abs() * 2.0
    shade = torch.where(wood, shade * (0.84 + 0.20 * stripe), shade)
    shade = torch.where(metal, shade * (0.86 - 0.16 * v), shade)
    if kind in ("ball", "ring", "star"):
        shade = shade * (1.0 - 0.42 * _rolling_mark(kind, actors, x, y, px))
    if any(actor.subject.pattern != "plain" for actor in actors):
        shade = shade * _pattern(actors, x, y, px)
    rim = (distance * px + (0.07 * px).clamp(min=1.1) + 0.5).clamp(0.0, 1.0)
    shade = shade * light * (1.0 - 0.5 * rim)

    # White light on top: a soft spot (rubber), a sharp band (metal), a thin arc (glass).
    spot = (1.0 - ((u + 0.32).square() + (v + 0.36).square()) / 0.09).clamp(0.0, 1.0)
    band = (1.0 - (u * 0.6 + v + 0.30).abs() / 0.24).clamp(0.0, 1.0)
    gleam = torch.where(metal, band * 0.5, torch.where(glass, (spot * 2.0).clamp(max=1.0) * 0.85, spot * 0.22))
    gleam = torch.where(wood, 0.0, gleam) * (1.0 - rim)

    colour = _lerp((_paints(actors, device) * shade).clamp_(max=255.0), 255.0, gleam)
    # Glass lets the background through in the middle, never at the rim: its colour must stay easy to name.
    clear = torch.where(glass, 0.20 * (1.0 - rim), 0.0)
    _blend(frames_M, patch, colour, cover * (1.0 - clear))


def _pattern(actors: list[_Actor], x: Tensor, y: Tensor, px: Tensor) -> Tensor:
    dots, stripes = (
        torch.tensor([actor.subject.pattern == name for actor in actors], device=x.device)[:, None, None, None]
        for name in ("dots", "stripes")
    )
    return wardrobe.pattern_shade(x, y, px, dots, stripes)


def _draw_accessories(frames_M: Tensor, kind: str, accessory: str, actors: list[_Actor], window: _Window) -> None:
    device = frames_M.device
    radius = _columns([actor.radius for actor in actors], device)
    x_NT = _tensor([a.x_T for a in actors], device)
    y_NT = _tensor([a.y_T for a in actors], device) + radius * wardrobe.MIDDLE
    half_width, half_height = (_largest(actors) * reach + 1 for reach in wardrobe.REACH)
    patch = _patch(actors, x_NT, y_NT, half_width, half_height, window)
    px = radius[..., None, None]
    x, y = patch.dx / px, patch.dy / px + wardrobe.MIDDLE
    light = torch.tensor([0.92 if actor.night else 1.0 for actor in actors], device=device)[:, None, None, None]
    for distance, rgb in wardrobe.layers(accessory, kind):
        _blend(frames_M, patch, _plane(*rgb, device) * light, _cover(distance(x, y), px))


def _rolling_mark(kind: str, actors: list[_Actor], x: Tensor, y: Tensor, px: Tensor) -> Tensor:
    """Dark spots that show the turning; only on what rolls."""
    rolls = torch.tensor([actor.subject.motion.kind == "roll" for actor in actors], device=x.device)[
        :, None, None, None
    ]
    if kind == "ring":
        mark = _cover(shapes.circle(x.abs() - 0.69, y, 0.2), px)
    elif kind == "ball":
        mark = torch.maximum(_cover(y.abs() - 0.13, px), _cover(shapes.circle(x, y - 0.55, 0.16), px))
    else:
        mark = _cover(shapes.circle(x, y + 0.5, 0.2), px)
    return torch.where(rolls, mark, 0.0)


def _mouths(actors: list[_Actor], times_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width and half height of the mouths in radii, and closed eyes 0/1, each (N, T)."""
    count, frames = len(actors), len(times_T)
    wide, high, blink = np.empty((count, frames)), np.empty((count, frames)), np.zeros((count, frames))
    shape = {"": (0.30, 0.0), "aa": (0.37, 0.34), "oo": (0.21, 0.28), "ee": (0.46, 0.19)}
    times = times_T.tolist()
    for n, actor in enumerate(actors):
        opening, vowels = mouth(actor.subject.speech, times)
        for t in range(frames):
            w, h = shape[vowels[t]]
            # Width comes early, height follows the loudness: lips take their shape before the sound is full.
            early = min(opening[t] * 2.0, 1.0)
            wide[n, t] = 0.30 + (w - 0.30) * early
            high[n, t] = 0.03 + h * opening[t]
        for time in actor.subject.blinks:
            blink[n] = np.maximum(blink[n], (times_T >= time) & (times_T < time + BLINK))
    return wide, high, blink


def _draw_faces(frames_M: Tensor, kind: str, actors: list[_Actor], times_T: np.ndarray, window: _Window) -> None:
    """A face stands still: it is drawn once and laid on all frames, unless the camera moves; then the mouth, and the
    lids where they blink."""
    device = frames_M.device
    x_NT, y_NT = _tensor([a.x_T for a in actors], device), _tensor([a.y_T for a in actors], device)
    largest = _largest(actors)
    half = largest * REACH[kind] + 1
    patch = _patch(actors, x_NT, y_NT, half, half, window)
    px = _columns([actor.radius for actor in actors], device)[..., None, None]
    x, y = (patch.dx / px, patch.dy / px) if window.moves else (patch.dx[:, :1] / px, patch.dy[:, :1] / px)
    base = _paints(actors, device)
    light = torch.tensor([0.92 if actor.night else 1.0 for actor in actors], device=device)[:, None, None, None]
    dark = _plane(44.0, 30.0, 40.0, device)

    distance = shapes.OUTLINES[kind](x, y)
    rim = (distance * px + (0.05 * px).clamp(min=1.1) + 0.5).clamp(0.0, 1.0)

    def finish(planes: Tensor, rim: Tensor) -> Tensor:
        return _lerp(planes, base * 0.42, rim) * light

    skin = (base * (1.0 - 0.09 * y - 0.03 * x)).clamp(max=255.0)
    if any(actor.subject.pattern != "plain" for actor in actors):
        skin = skin * _pattern(actors, x, y, px)
    if kind == "person":
        hairline = torch.maximum(shapes.ellipse(x, y + 0.16, 0.90, 0.86), y + 0.42 - 0.22 * x * x - 0.08 * x)
        skin = _lerp(skin, _plane(92.0, 62.0, 48.0, device), _cover(hairline, px))
        skin = _lerp(skin, base * 0.62, _cover(shapes.circle(x, y - 0.10, 0.07), px))
    elif kind == "cat":
        ear = shapes.triangle_up(x.abs() - 0.60 + 0.28 * (y + 0.7), y, -0.92, -0.40, 0.20)
        skin = _lerp(skin, _plane(236.0, 178.0, 178.0, device), _cover(ear, px))
        skin = _lerp(skin, dark, _cover(shapes.triangle_up(x, 0.16 - y, -0.01, 0.13, 0.11), px) * 0.9)
        whisker = torch.maximum((y - 0.22 - 0.12 * (x.abs() - 0.6)).abs() - 0.022, (x.abs() - 0.70).abs() - 0.18)
        skin = _lerp(skin, dark, _cover(whisker, px) * 0.7)
    else:
        screen = shapes.box(x, y + 0.22, 0.66, 0.34, 0.12)
        skin = _lerp(skin, _plane(66.0, 72.0, 84.0, device), _cover(screen, px))

    socket = _cover(shapes.circle(x.abs() - 0.34, y + 0.22, 0.235), px)
    white = _cover(shapes.circle(x.abs() - 0.34, y + 0.22, 0.19), px)
    pupil = _cover(shapes.circle(x.abs() - 0.34, y + 0.22 - 0.02, 0.105), px)
    shine = _cover(shapes.circle(x.abs() - 0.31, y + 0.22 + 0.03, 0.04), px)
    awake = skin if kind == "robot" else _lerp(skin, dark, socket * 0.55)
    awake = _lerp(_lerp(_lerp(awake, 250.0, white), dark, pupil), 255.0, shine)
    _blend(frames_M, patch, finish(awake, rim), _cover(distance, px))

    wide_NT, high_NT, blink_NT = _mouths(actors, times_T)
    if blink_NT.any():
        lid = skin * 0.72 if kind != "robot" else _plane(96.0, 104.0, 120.0, device)
        slit = socket * _cover((y + 0.22 - 0.05).abs() - 0.035, px)
        shut = finish(_lerp(_lerp(skin, lid, socket), dark, slit), rim)
        here = (_tensor(blink_NT, device)[..., None, None] > 0) & (socket > 0)
        _replace(frames_M, patch.flat_NTPQ, shut, here)

    # The mouth lies well inside the head, so what it covers needs no blending with what is behind the face.
    rows = slice(max(int(half - 0.02 * largest - 2.0), 0), int(half + 0.85 * largest) + 4)
    columns = slice(max(int(half - 0.53 * largest - 2.0), 0), int(half + 0.53 * largest) + 4)
    x, y = x[..., columns], y[..., rows, :] - 0.42
    wide, high = _tensor(wide_NT, device)[..., None, None], _tensor(high_NT, device)[..., None, None]
    corner = torch.minimum(wide, high) * (0.35 if kind == "robot" else 1.0)
    lips = shapes.box(x, y, wide, high, corner)
    lip = _cover(lips - 0.055, px)
    planes = _lerp(awake[..., rows, columns], base * 0.55, lip)
    planes = _lerp(planes, _plane(52.0, 8.0, 20.0, device), _cover(lips, px))
    tongue = torch.maximum(lips + 0.03, shapes.ellipse(x, y - high * 0.9, wide * 0.7, high * 0.75 + 0.01))
    planes = _lerp(planes, _plane(206.0, 92.0, 98.0, device), _cover(tongue, px) * (high > 0.12))
    _replace(frames_M, patch.flat_NTPQ[..., rows, columns], finish(planes, rim[..., rows, columns]), lip > 0)


def _replace(frames_M: Tensor, flat: Tensor, planes: Tensor, where: Tensor) -> None:
    """Set the pixels `where` is true."""
    frames_M[flat] = torch.where(where, _pack(planes), frames_M[flat])


def render_frames(
    scenes: Sequence[Scene],
    *,
    fps: float,
    frames: int,
    height: int,
    width: int,
    safe_height: int | None = None,
    safe_width: int | None = None,
    start: float = 0.0,
    camera: Camera | Sequence[Camera] = STRAIGHT,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Pictures of the scenes, uint8 (B, T, H, W, 3).

    Frame t shows the time start + t / fps seconds. height, width: pixels of the canvas. safe_height, safe_width: the
    part, centred in it, that scene coordinates refer to; the world goes on beyond it. Default: the whole canvas.
    camera: how it is looked at, the same for all scenes; or one for each frame, which may differ in place and zoom.
    Raises ValueError for a wrong number of cameras.
    """
    look = _look(camera, frames)
    screen = Screen(height, width, safe_height or height, safe_width or width)
    window = _window(screen, camera)
    scenes = _turned(scenes, look)
    times_T = start + np.arange(frames, dtype=np.float64) / float(fps)
    result = torch.empty(len(scenes), frames, height, width, 3, dtype=torch.uint8, device=device)
    chunk = max(CHUNK_PIXELS.get(torch.device(device).type, CHUNK_PIXELS["cpu"]) // max(frames * height * width, 1), 1)
    for first in range(0, len(scenes), chunk):
        part = scenes[first : first + chunk]
        _render_chunk(part, times_T, window, result[first : first + len(part)])
    if look.mirrored:
        result = result.flip(3)
    for row, scene in enumerate(scenes):
        if not is_finished(scene):
            result[row] = finish(result[row], scene, times_T, screen)
    return result


def _render_chunk(scenes: Sequence[Scene], times_T: np.ndarray, window: _Window, frames_BTHWC: Tensor) -> None:
    # Pixels are drawn as one integer each (red + 256 green + 65536 blue): much quicker to gather and to scatter than
    # three bytes. One spare pixel at the end takes what falls outside the picture.
    device, (count, frames) = frames_BTHWC.device, frames_BTHWC.shape[:2]
    pixels = window.height * window.width
    frames_M = torch.zeros(count * frames * pixels + 1, dtype=torch.int32, device=device)
    frames_BTHW = frames_M[:-1].view(count, frames, window.height, window.width)
    backgrounds = _backgrounds(scenes, window, device)
    frames_BTHW.copy_(backgrounds if window.moves else backgrounds[:, None].expand_as(frames_BTHW))
    actors = _actors(scenes, times_T, window)
    for slot in sorted({actor.slot for actor in actors}):
        _shadows(frames_M, [actor for actor in actors if actor.slot == slot], window)
    # Subjects of one scene may overlap: first all that stand behind.
    for slot in sorted({actor.slot for actor in actors}):
        groups: dict[tuple[str, str], list[_Actor]] = defaultdict(list)
        for actor in actors:
            if actor.slot == slot:
                groups[actor.subject.kind, actor.subject.size].append(actor)
        for (kind, _), members in groups.items():
            if kind in FACES:
                _draw_faces(frames_M, kind, members, times_T, window)
            else:
                _draw_shapes(frames_M, kind, members, window)
            for accessory in sorted({actor.subject.accessory for actor in members} - {None}):
                wearers = [actor for actor in members if actor.subject.accessory == accessory]
                _draw_accessories(frames_M, kind, accessory, wearers, window)
    if sys.byteorder == "little":
        frames_BTHWC.copy_(frames_M[:-1].view(torch.uint8).view(count, frames, window.height, window.width, 4)[..., :3])
    else:
        for channel in range(3):
            frames_BTHWC[..., channel] = (frames_BTHW >> 8 * channel) & 255


def masks(
    scenes: Sequence[Scene],
    *,
    fps: float,
    frames: int,
    height: int,
    width: int,
    safe_height: int | None = None,
    safe_width: int | None = None,
    start: float = 0.0,
    camera: Camera | Sequence[Camera] = STRAIGHT,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Where each subject is, bool (B, S, T, H, W); S: most subjects of any scene, missing ones are empty.

    Pixels at least half covered by the subject's whole outline and its accessory, also where another subject hides
    them. The arguments are those of `render_frames`.
    """
    look = _look(camera, frames)
    window = _window(Screen(height, width, safe_height or height, safe_width or width), camera)
    times_T = start + np.arange(frames, dtype=np.float64) / float(fps)
    slots = max((len(scene.subjects) for scene in scenes), default=0)
    result = torch.zeros(len(scenes), slots, frames, height, width, dtype=torch.bool, device=device)
    for actor in _actors(scenes, times_T, window):
        result[actor.scene, actor.slot].view(-1)[_covered(actor, window, device)] = True
    return result.flip(4) if look.mirrored else result


def _covered(actor: _Actor, window: _Window, device: torch.device | str) -> Tensor:
    """Flat indices into its own (T, H, W) of the pixels that a subject covers."""
    kind, accessory = actor.subject.kind, actor.subject.accessory
    radius_N1 = _columns([actor.radius], device)
    px = radius_N1[..., None, None]
    x_NT, y_NT = _tensor([actor.x_T], device), _tensor([actor.y_T], device)
    largest, row = _largest([actor]), [replace(actor, scene=0, slot=0)]
    half = largest * REACH[kind] + 1
    patch = _patch(row, x_NT, y_NT, half, half, window)
    u, v = patch.dx / px, patch.dy / px
    cosine, sine = (_tensor([f(actor.angle_T)], device)[..., None, None] for f in (np.cos, np.sin))
    inside = shapes.OUTLINES[kind](cosine * u + sine * v, cosine * v - sine * u) <= 0
    chosen = patch.flat_NTPQ[inside & (patch.flat_NTPQ >= 0)]
    if accessory is None:
        return chosen
    half_width, half_height = (largest * reach + 1 for reach in wardrobe.REACH)
    patch = _patch(row, x_NT, y_NT + radius_N1 * wardrobe.MIDDLE, half_width, half_height, window)
    worn = wardrobe.outline(accessory, kind, patch.dx / px, patch.dy / px + wardrobe.MIDDLE) <= 0
    return torch.cat((chosen, patch.flat_NTPQ[worn & (patch.flat_NTPQ >= 0)]))
