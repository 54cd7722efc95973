"""Contact sheets: clips at a glance, frames over the spectrogram of their sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from openreels.media.audio import to_mono
from openreels.media.clip import Clip

__all__ = ["contact_sheet", "spectrogram"]

INK, PAPER = (232, 232, 232), (20, 20, 24)
MARGIN = 6  # pixels around and between
STRIP_BANDS = 32  # mel bands; times `scale` is the height of the spectrogram
FLOOR_DB, CEILING_DB = -90, -10  # fixed, of full scale: silence looks silent beside a loud clip
HEAT = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float32)


def contact_sheet(clips: Sequence[Clip], captions: Sequence[str] = (), columns: int = 8, scale: int = 2) -> Image.Image:
    """One row per clip: its caption, `columns` frames evenly spread over its time, and below them its spectrogram.

    A frame stands above the stretch of sound it is the middle of. scale: whole factor by which pixels are enlarged.
    Raises ValueError without clips, or with more captions than clips.
    """
    if not clips:
        raise ValueError("a contact sheet needs at least one clip")
    texts = [*captions, *[""] * (len(clips) - len(captions))]
    rows = [row(clip, text, columns, scale) for clip, text in zip(clips, texts, strict=True)]
    sheet = Image.new(
        "RGB",
        (max(image.width for image in rows) + 2 * MARGIN, sum(image.height + MARGIN for image in rows) + MARGIN),
        PAPER,
    )
    top = MARGIN
    for image in rows:
        sheet.paste(image, (MARGIN, top))
        top += image.height + MARGIN
    return sheet


def row(clip: Clip, caption: str, columns: int, scale: int) -> Image.Image:
    parts = []
    width = columns * 64 * scale
    if clip.frames is not None:
        frames = film_strip(clip.frames, columns, scale)
        width = frames.width
        parts.append(frames)
    if clip.audio is not None:
        heat = Image.fromarray(spectrogram(clip.audio, clip.sample_rate, width // scale, STRIP_BANDS))
        parts.append(heat.resize((width, STRIP_BANDS * scale), Image.Resampling.NEAREST))
    if caption:
        parts.insert(0, text_line(caption, width, 7 * scale))
    image = Image.new("RGB", (width, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height
    return image


def film_strip(frames: np.ndarray, columns: int, scale: int) -> Image.Image:
    middles = (np.arange(columns) + 0.5) * len(frames) / columns
    strip = np.concatenate(list(frames[middles.astype(int)]), axis=1)
    return Image.fromarray(strip.repeat(scale, axis=0).repeat(scale, axis=1))


def text_line(text: str, width: int, size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    line = Image.new("RGB", (width, round(size * 1.5)), PAPER)
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    ImageDraw.Draw(line).text((0, 0), text, INK, font)
    return line


def spectrogram(audio: np.ndarray, sample_rate: int, width: int, bands: int) -> np.ndarray:
    """(C, N) -> a picture (bands, width, 3) uint8: time to the right, mel-spaced frequency upwards, dB as heat."""
    window = 1 << int(np.ceil(np.log2(0.032 * sample_rate)))
    padded = np.pad(to_mono(audio)[0], window // 2)
    starts = np.linspace(0, audio.shape[1] - 1, width).astype(int)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, window)[starts] * np.hanning(window)
    power = np.abs(np.fft.rfft(blocks) / (window / 4)) ** 2  # a full-scale sine is 0 dB
    decibels = 10 * np.log10(power @ mel_bank(sample_rate, window, bands) + 1e-12)
    heat = np.clip((decibels.T[::-1] - FLOOR_DB) / (CEILING_DB - FLOOR_DB), 0, 1) * (len(HEAT) - 1)
    low = np.minimum(heat.astype(int), len(HEAT) - 2)
    blend = (heat - low)[..., None]
    return ((1 - blend) * HEAT[low] + blend * HEAT[low + 1]).astype(np.uint8)


def mel_bank(sample_rate: int, window: int, bands: int) -> np.ndarray:
    """(window // 2 + 1, bands): triangles evenly spaced in mel, none narrower than a bin, so that none is empty."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 1400), bands + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1)[:, None]
    low, middle, high = (edges[i : i + bands] * window / sample_rate for i in range(3))
    width = np.maximum((high - low) / 2, 1)
    return np.clip(1 - np.abs(bins - middle) / width, 0, None)
