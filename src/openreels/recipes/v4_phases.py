"""The paper's training schedule (SkyReels-V4, arXiv 2602.21818): six video phases, audio, joint, and SFT in two steps.

`Published` holds what the paper says and `Chosen` what it leaves open; the latter is ours to the last number, above all
learning rates and batches. At other sizes than the paper's (`plan(preset)`) only the data and the model differ: tasks,
shares, order and hand-over are the same.
"""

from __future__ import annotations

from pathlib import Path

from openreels.recipes.presets import Preset
from openreels.recipes.presets import preset as preset_of
from openreels.training.sharded.cached import CachedData
from openreels.training.sharded.launch import PhasePlan
from openreels.training.sharded.phases import Chosen, Phase, Published
from openreels.training.sharded.world_data import WorldData

__all__ = ["PHASES", "plan"]

MILLION, BILLION = 1e6, 1e9
INPAINTING = {"image-inpainting": 0.05, "image-to-video": 0.05, "video-extension": 0.05, "video-editing": 0.05}
STILLS_AND_CLIPS = {"text-to-image": None, "text-to-video": None}
# Tasks with sound whose share the paper gives only together: "multimodal", a fifth.
MULTIMODAL = (
    "image-reference-audio",
    "video-reference-audio",
    "image-to-video-audio",
    "video-audio-extension",
    "video-audio-editing",
)
SFT = {"text-to-video-audio": 0.8, **dict.fromkeys(MULTIMODAL, 0.2 / len(MULTIMODAL))}
HIGH, ALL_PARTS = (480, 720, 1080), ("video", "audio", "cross")


def _after(name: str) -> dict[str, str]:
    return {"video": name}


VIDEO_1 = Phase(
    "video-1",
    Published({"text-to-image": None}, epochs=3, resolutions=(256,), images=3 * BILLION),
    Chosen(("video",), batch=8192, learning_rate=1e-4, shares={"text-to-image": 1}, warmup_steps=5000),
)
VIDEO_2 = Phase(
    "video-2",
    Published(STILLS_AND_CLIPS, 3, (256,), fps=16, seconds=(2, 10), images=1 * BILLION, videos=400 * MILLION),
    # Stills to clips as in the data, so that both last as many epochs.
    Chosen(("video",), 4096, 1e-4, _after("video-1"), {"text-to-image": 10, "text-to-video": 4}),
)
VIDEO_3 = Phase(
    "video-3",
    Published(
        STILLS_AND_CLIPS | INPAINTING, 2, (256,), fps=16, seconds=(2, 15), images=1 * BILLION, videos=400 * MILLION
    ),
    Chosen(("video",), 4096, 1e-4, _after("video-2"), {"text-to-image": 10, "text-to-video": 4}),
)
VIDEO_4 = Phase(
    "video-4",
    Published(
        STILLS_AND_CLIPS | INPAINTING,
        2,
        (256, 480),
        fps=16,
        seconds=(2, 15),
        images=100 * MILLION,
        videos=100 * MILLION,
    ),
    Chosen(("video",), 2048, 5e-5, _after("video-3"), {"text-to-image": 1, "text-to-video": 1}),
)
VIDEO_5 = Phase(
    "video-5",
    Published(
        STILLS_AND_CLIPS | INPAINTING, 2, HIGH, fps=16, seconds=(3, 15), images=50 * MILLION, videos=50 * MILLION
    ),
    Chosen(("video",), 1024, 5e-5, _after("video-4"), {"text-to-image": 1, "text-to-video": 1}),
)
VIDEO_6 = Phase(
    "video-6",
    Published(
        {"image-reference": 0.2, "video-reference": 0.2, "text-to-video": 0.6},
        2,
        HIGH,
        images=20 * MILLION,
        videos=50 * MILLION,
    ),
    Chosen(("video",), 1024, 5e-5, _after("video-5"), seconds=(3, 15)),
)
AUDIO = Phase(
    "audio",
    # "Hundreds of thousands of hours, mostly speech", of variable length up to 15 s: 300,000 stand for that.
    Published({"text-to-audio": None}, 3, seconds=(0, 15), audio_hours=300_000),
    Chosen(("audio",), 2048, 1e-4, shares={"text-to-audio": 1}, warmup_steps=5000),
)
JOINT = Phase(
    "joint",
    # Half of the video data of the phase before.
    Published(
        {"text-to-video": None, "text-to-video-audio": None, "text-to-audio": None},
        2,
        (720, 1080),
        fps=16,
        seconds=(5, 15),
        videos=25 * MILLION,
    ),
    Chosen(
        ALL_PARTS,
        1024,
        5e-5,
        {"video": "video-6", "audio": "audio"},
        {"text-to-video": 1, "text-to-video-audio": 2, "text-to-audio": 1},
    ),
)
SFT_1 = Phase(
    "sft-1",
    Published(SFT, 3, (720, 1080), fps=16, seconds=(5, 15), videos=5 * MILLION),
    Chosen(ALL_PARTS, 512, 2e-5, dict.fromkeys(ALL_PARTS, "joint")),
)
SFT_2 = Phase(
    "sft-2",
    Published(SFT, 3, (720, 1080), fps=16, seconds=(5, 15), videos=1 * MILLION),
    Chosen(ALL_PARTS, 256, 1e-5, dict.fromkeys(ALL_PARTS, "sft-1")),
)
PHASES = (VIDEO_1, VIDEO_2, VIDEO_3, VIDEO_4, VIDEO_5, VIDEO_6, AUDIO, JOINT, SFT_1, SFT_2)


def plan(preset: str = "pocket", data: Path | None = None, components: Path | None = None) -> PhasePlan:
    """All phases for a model of `recipes.presets`.

    data: a folder of cached latents; None: the pocket world's, through the frozen codecs and text encoder in
    `components` (by default those of the package's pocket weights). Raises ValueError where the preset needs data.
    """
    chosen = preset_of(preset)
    if data is None and preset != "pocket":
        raise ValueError(f"preset {preset} needs a folder of cached latents (data): only pocket has data of its own")
    if data is None:
        shipped = Path(__file__).parents[1] / "weights" / "pocket"
        return PhasePlan(PHASES, trained_of(chosen), WorldData(components or shipped))
    return PhasePlan(PHASES, trained_of(chosen), CachedData(data))


def trained_of(preset: Preset) -> dict[str, object]:
    """Arguments of the preset's transformer as these phases train it: their clips have no layouts."""
    return {**preset.transformer, "layout_classes": None}
