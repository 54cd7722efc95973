"""What kind of motion a track is, and when it touches something: laws of motion fitted to the centre of the subject.

Each law is a bank of curves over its times (when it starts, how long an arc lasts ...); place and size of the motion
follow by least squares. The best curve of the best law is then refined, which places contacts between two frames.

Legend: T frames  K curves  N frames used. Lengths in short sides, y down, times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from openreels.evaluation.scenery import UNIT
from openreels.evaluation.subjects import Thing

__all__ = ["Track", "Travel", "judge_motion", "rolls", "track_of"]

STILL = 0.02  # a subject whose centre strays less than this (standard deviation) from its mean does not move
# A law holds when it leaves at most this share of the track's variance unexplained, or this distance. True tracks leave
# 0.01; a codec that smears a fast fall over two frames leaves 0.15.
UNEXPLAINED = 0.2
SLACK = 0.012


@dataclass(frozen=True)
class Track:
    """Centre of a subject: x_T, y_T in short sides, NaN where unseen; times_T in seconds."""

    times_T: np.ndarray
    x_T: np.ndarray
    y_T: np.ndarray


@dataclass(frozen=True)
class Travel:
    """kind: of world.MOTIONS, None when no law holds. side: -1 left, 1 right, 0 for kinds without a side.

    contacts: seconds, when it touches the floor or another subject. unexplained: share of the variance.
    """

    kind: str | None
    side: int
    contacts: tuple[float, ...]
    unexplained: float


def track_of(thing: Thing, fps: float, width: int) -> Track:
    """The thing's centre; a part cut off by the left or right border is completed to its full width."""
    x_T, y_T = thing.x_T.copy(), thing.y_T.copy()
    left_T, right_T = thing.box_T4[:, 0], thing.box_T4[:, 2]
    cut_T = (left_T <= 0) | (right_T >= width)
    whole_T = thing.seen_T & ~cut_T
    if cut_T.any() and whole_T.any():
        from_left = np.median((x_T - left_T)[whole_T])
        to_right = np.median((right_T - x_T)[whole_T])
        x_T = np.where(thing.seen_T & (left_T <= 0), right_T - to_right, x_T)
        x_T = np.where(thing.seen_T & (right_T >= width), left_T + from_left, x_T)
    return Track(np.arange(len(x_T)) / fps, x_T / UNIT, y_T / UNIT)


# --- the laws: height (or way) 0..1 over time, for columns of parameters (K, 1) and times (1, T) ----------------------


def _bounce(times: np.ndarray, start: np.ndarray, period: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Height above the floor over the first arc's height. start: first touch."""
    out = np.zeros(np.broadcast_shapes(times.shape, start.shape))
    begin, length, height = start - period, period.copy(), np.ones_like(period)
    for _ in range(16):
        phase = (times - begin) / length
        out = np.where((phase >= 0) & (phase < 1), 4.0 * height * phase * (1.0 - phase), out)
        begin = begin + length
        length = length * kept
        height = height * kept * kept
        length = np.where(length < 0.10, 1e-6, length)  # it rests
    return out


def _bounce_contacts(until: float, start: float, period: float, kept: float) -> list[float]:
    found, time = [], start
    while time < until:
        found.append(time)
        period *= kept
        if period < 0.12:
            break
        time += period
    return found


def _jump(times: np.ndarray, start: np.ndarray, period: np.ndarray, pause: np.ndarray) -> np.ndarray:
    phase = np.mod(times - start, period + pause) / period
    up = (phase < 1.0) & (times >= start)
    return np.where(up, 4.0 * phase * (1.0 - phase), 0.0)


def _jump_contacts(until: float, start: float, period: float, pause: float) -> list[float]:
    return [time for time in np.arange(start + period, until, period + pause).tolist() if time >= 0.0]


def _fall(times: np.ndarray, start: np.ndarray, period: np.ndarray) -> np.ndarray:
    phase = np.clip((times - start) / period, 0.0, 1.0)
    return 1.0 - phase * phase


def _fall_contacts(until: float, start: float, period: float) -> list[float]:
    return [start + period] if 0.0 <= start + period < until else []


def _slide(times: np.ndarray, start: np.ndarray, period: np.ndarray) -> np.ndarray:
    phase = np.clip((times - start) / period, 0.0, 1.0)
    return phase * (2.0 - phase)


def _collide(times: np.ndarray, hit: np.ndarray, period: np.ndarray, kept: np.ndarray) -> np.ndarray:
    back = np.clip((times - hit) / period, 0.0, 1.0)
    return np.where(times < hit, times / hit, 1.0 - kept * period / hit * back * (1.0 - 0.5 * back))


def _hit(until: float, hit: float, period: float, kept: float) -> list[float]:
    return [hit] if 0.0 <= hit < until else []


def _no_contacts(until: float, *_: float) -> list[float]:
    return []


@dataclass(frozen=True)
class _Law:
    """axis: "y" (upwards, positive amplitude only) or "x". grid: values tried for each parameter."""

    kind: str
    axis: str
    curve: Callable[..., np.ndarray]
    contacts: Callable[..., list[float]]
    grid: tuple[np.ndarray, ...]


_LAWS = (
    _Law("bounce", "y", _bounce, _bounce_contacts,
         (np.arange(0.02, 0.83, 0.045), np.arange(0.32, 0.84, 0.035), np.arange(0.7, 1.0, 0.06))),
    _Law("jump", "y", _jump, _jump_contacts,
         (np.arange(0.02, 0.56, 0.04), np.arange(0.27, 0.6, 0.035), np.arange(0.08, 0.47, 0.05))),
    _Law("fall", "y", _fall, _fall_contacts, (np.arange(0.02, 3.8, 0.05), np.arange(0.18, 0.54, 0.04))),
    _Law("slide", "x", _slide, _no_contacts, (np.arange(-0.02, 0.7, 0.05), np.arange(0.25, 2.7, 0.1))),
    _Law("collide", "x", _collide, _hit,
         (np.arange(0.1, 1.4, 0.04), np.arange(0.4, 1.01, 0.12), np.arange(0.4, 1.0, 0.12))),
)  # fmt: skip
_LAW = {law.kind: law for law in _LAWS}


@lru_cache(maxsize=32)
def _bank(kind: str, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (K, P) and curves (K, T) of a law."""
    law = _LAW[kind]
    values_KP = np.array(list(product(*law.grid)))
    if kind == "bounce":
        values_KP = values_KP[values_KP[:, 0] <= values_KP[:, 1] + 0.03]  # the first arc is on its way at time 0
    elif kind == "fall":
        values_KP = values_KP[values_KP.sum(1) < frames / fps]
    return values_KP, _curves(law, values_KP, np.arange(frames) / fps)


def _curves(law: _Law, values_KP: np.ndarray, times_T: np.ndarray) -> np.ndarray:
    return law.curve(times_T[None], *(values_KP[:, i : i + 1] for i in range(values_KP.shape[1])))


def _left_over(law: _Law, curves_KT: np.ndarray, value_N: np.ndarray, use_T: np.ndarray) -> np.ndarray:
    """Mean square left when place and size are fitted, (K,); curves of the wrong sign explain nothing."""
    curves_KN = curves_KT[:, use_T]
    curves_KN = curves_KN - curves_KN.mean(1, keepdims=True)
    value_N = value_N - value_N.mean()
    power_K = np.maximum((curves_KN * curves_KN).mean(1), 1e-9)
    common_K = curves_KN @ value_N / len(value_N)
    if law.axis == "y":
        common_K = np.minimum(common_K, 0.0)  # up is negative
    return np.mean(value_N * value_N) - common_K * common_K / power_K


def _fit(law: _Law, track: Track, fps: float, use_T: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Mean square left on the law's axis, its parameters, and the sign of the motion on this axis."""
    value_N = (track.y_T if law.axis == "y" else track.x_T)[use_T]
    values_KP, curves_KT = _bank(law.kind, len(track.times_T), fps)
    left_K = _left_over(law, curves_KT, value_N, use_T)
    best = values_KP[left_K.argmin()]
    step_P = np.array([grid[1] - grid[0] for grid in law.grid])
    left = float(left_K.min())
    for _ in range(4):
        step_P = step_P * 0.5
        moves = np.array(list(product((-1.0, 0.0, 1.0), repeat=len(step_P)))) * step_P
        tried_KP = best + moves
        tried_KP[:, 1:] = np.maximum(tried_KP[:, 1:], 0.04)
        curves_KT = _curves(law, tried_KP, track.times_T)
        left_K = _left_over(law, curves_KT, value_N, use_T)
        best, left = tried_KP[left_K.argmin()], float(left_K.min())
    curve_N = _curves(law, best[None], track.times_T)[0, use_T]
    sign = float(np.sign(np.dot(curve_N - curve_N.mean(), value_N - value_N.mean())))
    return left, best, sign


def _fit_orbit(track: Track, use_T: np.ndarray) -> float:
    """Mean square (both axes) left by the best uniform motion on a circle."""
    z_N = (track.x_T + 1j * track.y_T)[use_T]
    times_N = track.times_T[use_T]
    omega_K = 2.0 * np.pi / np.concatenate([np.arange(0.6, 1.75, 0.03), -np.arange(0.6, 1.75, 0.03)])
    turn_KN = np.exp(1j * omega_K[:, None] * times_N)
    turn_KN = turn_KN - turn_KN.mean(1, keepdims=True)
    z_N = z_N - z_N.mean()
    common_K = np.abs(turn_KN.conj() @ z_N) ** 2 / len(z_N) / np.maximum((np.abs(turn_KN) ** 2).sum(1), 1e-9)
    return float(np.mean(np.abs(z_N) ** 2) - common_K.max())


def judge_motion(track: Track, fps: float, duration: float) -> Travel:
    """The law that leaves least of the track unexplained. A subject that rolls is a "slide" here: see `rolls`."""
    use_T = np.isfinite(track.x_T) & np.isfinite(track.y_T)
    if use_T.sum() < 6:
        return Travel(None, 0, (), 1.0)
    across, along = float(np.var(track.x_T[use_T])), float(np.var(track.y_T[use_T]))
    total = across + along
    if total < STILL**2:
        return Travel("still", 0, (), 0.0)
    found = [(_fit_orbit(track, use_T), "orbit", np.empty(0), 0.0)]
    for law in _LAWS:
        if law.kind == "collide" and duration < 0.3:
            continue
        left, values, sign = _fit(law, track, fps, use_T)
        found.append((left + (across if law.axis == "y" else along), law.kind, values, sign))
    left, kind, values, sign = min(found, key=lambda item: item[0])
    unexplained = left / total
    if unexplained > UNEXPLAINED and left > SLACK**2:
        return Travel(None, 0, (), unexplained)
    contacts = _LAW[kind].contacts(duration, *values.tolist()) if kind in _LAW else []
    side = int(sign) if kind in ("slide", "collide") else 0
    return Travel(kind, side, tuple(contacts), unexplained)


# --- rolling ---------------------------------------------------------------------------------------------------------

RING_RADII = (0.45, 0.6, 0.75, 0.88)
ANGLES = 32
WAVES = 6
TURNING = 0.045  # rms of the turning pattern over the mean brightness: true rolls 0.07 and more, slides up to 0.02
COHERENT = 0.55  # share of the pattern's changes that turns in step with the way travelled: 0.8 and more, 0.4 and less


def rolls(thing: Thing, track: Track, frames_THWC: Tensor) -> bool:
    """Whether the subject's surface turns as fast as it would rolling along its way without slipping."""
    box_T4 = thing.box_T4
    width, height = frames_THWC.shape[2], frames_THWC.shape[1]
    whole_T = thing.seen_T & (box_T4[:, 0] > 0) & (box_T4[:, 2] < width) & (box_T4[:, 1] > 0) & (box_T4[:, 3] < height)
    if whole_T.sum() < 6:
        return False
    radius = 0.5 * float(np.median((box_T4[:, 3] - box_T4[:, 1])[whole_T]))
    used = np.flatnonzero(whole_T)
    x_N, y_N = track.x_T[used] * UNIT, track.y_T[used] * UNIT
    angle = np.arange(ANGLES) * 2.0 * np.pi / ANGLES
    ring = np.stack([np.outer(RING_RADII, np.cos(angle)), np.outer(RING_RADII, np.sin(angle))], -1) * radius
    places = np.stack([x_N, y_N], -1)[:, None, None] + ring  # (N, rings, angles, 2)
    to = torch.from_numpy(places * (2.0 / np.array([width, height])) - 1.0).float()
    planes = frames_THWC[used].mean(-1)[:, None]
    light = torch.nn.functional.grid_sample(planes, to, padding_mode="border", align_corners=False)[:, 0].numpy()
    waves_NRM = np.fft.rfft(light / light.mean(), axis=-1)[..., 1 : WAVES + 1] / ANGLES
    # Each wave is a standing part (light from above) plus a part that turns with the way.
    best = (0.0, 0.0)
    for rate in (0.9, 1.0, 1.1):  # a turning star has no sharp radius
        turned_NM = np.exp(-1j * np.outer((x_N - x_N[0]) / radius * rate, np.arange(1, WAVES + 1)))
        basis_NM = turned_NM - turned_NM.mean(0)
        power_M = np.maximum((np.abs(basis_NM) ** 2).mean(0), 1e-6)
        change_NRM = waves_NRM - waves_NRM.mean(0)
        turning_RM = (change_NRM * basis_NM.conj()[:, None]).mean(0) / power_M
        explained = float((np.abs(turning_RM) ** 2 * power_M).sum())
        total = float((np.abs(change_NRM) ** 2).mean(0).sum())
        rms = float(np.sqrt((np.abs(turning_RM) ** 2).sum() * 2.0 / len(RING_RADII)))
        best = max(best, (explained / max(total, 1e-9), rms))
    return best[1] > TURNING and best[0] > COHERENT
