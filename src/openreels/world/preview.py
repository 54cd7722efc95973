"""Look at the world, and listen: a contact sheet of random scenes and each of them as a clip with sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from openreels.media import Clip
from openreels.world.batch import Rendered, render
from openreels.world.captions import captions
from openreels.world.sampling import Split, sample_scene
from openreels.world.script import Scene

__all__ = ["contact_sheet", "preview"]

LINE = 14  # pixels of a line of text
COLUMNS = 9


def contact_sheet(clip: Rendered, texts: list[str], *, zoom: int = 2, columns: int = COLUMNS) -> Image.Image:
    """One row of frames per clip, evenly spaced in time, its text beneath."""
    count, frames, height, width, _ = clip.frames.shape
    shown = np.linspace(0, frames - 1, min(columns, frames)).round().astype(int)
    row_height = height * zoom + LINE + 4
    sheet = Image.new("RGB", (len(shown) * (width * zoom + 2), count * row_height), (28, 28, 32))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for row in range(count):
        for column, frame in enumerate(shown):
            picture = Image.fromarray(clip.frames[row, frame].cpu().numpy())
            # Nearest neighbour: what the model sees, not something prettier.
            picture = picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * (width * zoom + 2), row * row_height))
        draw.text((4, row * row_height + height * zoom + 1), texts[row], fill=(225, 225, 225), font=font)
    return sheet


def preview(
    out_dir: str | Path,
    count: int = 12,
    seed: int = 0,
    *,
    duration: float = 2.0,
    fps: int = 16,
    height: int = 64,
    width: int = 64,
    split: Split = "train",
    zoom: int = 2,
) -> list[Path]:
    """Write `sheet.png`, and for every scene an mp4 with sound, its script and its captions; returns the paths.

    duration: seconds. height, width: pixels of the clips; the sheet shows them `zoom` times larger.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [sample_scene(seed + i, duration=duration, aspect=width / height, split=split) for i in range(count)]
    clip = render(scenes, fps=fps, frames=round(duration * fps), height=height, width=width)
    forms = [captions(scene, seed) for scene in scenes]
    sheet = folder / "sheet.png"
    contact_sheet(clip, [form.short_en for form in forms], zoom=zoom).save(sheet)
    paths = [sheet]
    for index, scene in enumerate(scenes):
        paths += _save(folder / f"scene_{scene.seed:06d}", scene, clip, index, "\n".join(_lines(forms[index])))
    return paths


def _lines(forms: object) -> list[str]:
    return [f"{name}: {getattr(forms, name)}" for name in forms.__slots__]


def _save(stem: Path, scene: Scene, clip: Rendered, index: int, text: str) -> list[Path]:
    video, script, words = stem.with_suffix(".mp4"), stem.with_suffix(".json"), stem.with_suffix(".txt")
    Clip(
        frames=clip.frames[index].cpu().numpy(),
        fps=Fraction(clip.fps),
        audio=clip.audio[index : index + 1].cpu().numpy(),
        sample_rate=clip.sample_rate,
    ).save(video)
    script.write_text(scene.to_json() + "\n", encoding="utf-8")
    words.write_text(text + "\n", encoding="utf-8")
    return [video, script, words]
