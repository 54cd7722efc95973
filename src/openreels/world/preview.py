"""Look at the world, and listen: a contact sheet of random scenes and each of them as a clip with sound."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

from openreels.media import Clip
from openreels.media.sheet import contact_sheet
from openreels.world.batch import Rendered, render
from openreels.world.captions import Captions, captions
from openreels.world.sampling import Split, sample_scene

__all__ = ["preview"]


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
    rendered = render(scenes, fps=fps, frames=round(duration * fps), height=height, width=width)
    clips = [clip_of(rendered, index) for index in range(count)]
    forms = [captions(scene, seed) for scene in scenes]
    sheet = folder / "sheet.png"
    contact_sheet(clips, [form.short_en for form in forms], scale=zoom).save(sheet)
    paths = [sheet]
    for scene, clip, form in zip(scenes, clips, forms, strict=True):
        stem = folder / f"scene_{scene.seed:06d}"
        video, script, words = stem.with_suffix(".mp4"), stem.with_suffix(".json"), stem.with_suffix(".txt")
        clip.save(video)
        script.write_text(scene.to_json() + "\n", encoding="utf-8")
        words.write_text(lines_of(form), encoding="utf-8")
        paths += [video, script, words]
    return paths


def clip_of(rendered: Rendered, index: int) -> Clip:
    return Clip(
        frames=rendered.frames[index].cpu().numpy(),
        fps=Fraction(rendered.fps),
        audio=rendered.audio[index : index + 1].cpu().numpy(),
        sample_rate=rendered.sample_rate,
    )


def lines_of(form: Captions) -> str:
    return "".join(f"{name}: {text}\n" for name, text in asdict(form).items())
