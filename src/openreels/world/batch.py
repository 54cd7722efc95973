"""Pictures and sound of many scenes at once, and the allocator setting that makes them quick."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openreels.world.rendering import render_frames
from openreels.world.script import Scene
from openreels.world.sound import SAMPLE_RATE, render_sound

__all__ = ["Rendered", "keep_freed_memory", "render"]


@dataclass(frozen=True)
class Rendered:
    """frames: uint8 (B, T, H, W, 3). audio: float32 (B, S) mono in [-0.9, 0.9]; S = round(T / fps * sample_rate)."""

    frames: Tensor
    audio: Tensor
    fps: float
    sample_rate: int


def render(
    scenes: Sequence[Scene],
    *,
    frames: int,
    height: int,
    width: int,
    fps: float = 16,
    safe_height: int | None = None,
    safe_width: int | None = None,
    start: float = 0.0,
    sample_rate: int = SAMPLE_RATE,
    device: torch.device | str = "cpu",
) -> Rendered:
    """Frames and sound of the scenes from `start` seconds on; see `render_frames` for the sizes."""
    pictures = render_frames(
        scenes,
        fps=fps,
        frames=frames,
        height=height,
        width=width,
        safe_height=safe_height,
        safe_width=safe_width,
        start=start,
        device=device,
    )
    samples = round(frames / fps * sample_rate)
    sound = render_sound(scenes, samples=samples, sample_rate=sample_rate, start=start, device=device)
    return Rendered(pictures, sound, fps, sample_rate)


def keep_freed_memory() -> bool:
    """Ask the C allocator to keep freed memory instead of giving it back to the system; True if it agreed.

    Rendering allocates and frees the same megabytes again and again; with glibc's defaults each of these is a fresh
    mapping whose pages the kernel must clear, several times slower than the drawing itself. Changes the whole process,
    so the programs that render much (training, benchmarks) call it once at their start; nothing calls it at import.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
    large = 1 << 30
    return all(
        mallopt(option, value) == 1 for option, value in ((mmap_max, 0), (trim_threshold, large), (top_pad, 64 << 20))
    )
