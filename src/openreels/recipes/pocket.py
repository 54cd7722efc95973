"""The pocket model: sizes of every part, and the whole life of its weights from nothing to a shipped folder.

Measured results and what was tried on the way: docs/log.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from openreels.models.planner import LayoutPlanner
from openreels.models.reader import LayoutReader
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.training.briefs import BRIEF_NUMBERS
from openreels.training.latents import Bucket
from openreels.training.layouts import LAYOUT_CLASSES
from openreels.training.plan import TrainingPlan, furthest, load_components
from openreels.training.stages import Share, Stage, TimeSampling
from openreels.world import CUTS
from openreels.world.examples import ROWS, Row, sample_example

__all__ = ["export", "plan", "tiny_plan", "transformer"]

SQUARE, PORTRAIT, TALL, LANDSCAPE, WIDE = "1:1", "3:4", "9:16", "4:3", "16:9"
STILL_SHARDS = 96
CANVASES = {LANDSCAPE: (64, 96), WIDE: (64, 128), PORTRAIT: (96, 64), TALL: (128, 64)}


def transformer(video_channels: int = 32, audio_channels: int = 20, text_dim: int = 128) -> SkyReelsV4Transformer:
    """10.4M parameters: width 192, two dual-stream and three single-stream layers in both towers; almost a
    quarter of them sketch."""
    return SkyReelsV4Transformer(
        video_channels=video_channels,
        audio_channels=audio_channels,
        text_dim=text_dim,
        num_heads=6,
        rope_axis_dims=(8, 12, 12),
        num_dual_layers=2,
        num_single_layers=3,
        mlp_ratio=2.875,
        rope_theta=100.0,
        modulation_rank=6,
        time_bias_slope=4.0,
        gaussian_skip=True,
        clean_given=True,
        layout_classes=LAYOUT_CLASSES,
        sketch_layers=6,
        sketch_temperature=0.05,
        sketch_trust=2.0,
        sketch_doubt=0.2,
        brief_numbers=BRIEF_NUMBERS,
    )


def _other_aspects(frames: int, weight: float, batch: int, shards: int) -> list[Share]:
    return [
        Share(Bucket(frames, height, width, aspect), weight / len(CANVASES), batch, shards)
        for aspect, (height, width) in CANVASES.items()
    ]


def _clips(batch_scale: float = 1.0) -> list[Share]:
    """The mixture of clip lengths and aspects; two seconds, the default of a request, most often."""
    size = lambda batch: max(1, round(batch * batch_scale))  # noqa: E731
    return [
        Share(Bucket(17), 0.35, size(40), 24),
        Share(Bucket(33), 0.45, size(24), 48),
        Share(Bucket(65), 0.05, size(12), 3),
        *_other_aspects(33, 0.15, size(16), 1),
    ]


def _with_stills(clips: list[Share], weight: float = 0.3) -> list[Share]:
    """The clips, and stills among them: without, a model that learns to move things forgets how they look.

    (Error of the velocity on stills: 0.46 after the images stage, 0.58 again after 1,350 steps of clips alone.)
    """
    rest = [replace(share, weight=share.weight * (1 - weight)) for share in clips]
    return [Share(Bucket(1), weight, 96, STILL_SHARDS), *rest]


# Row of the task table -> how often its cases are drawn, relative to the others; 1 where nothing is said. More for
# what has more to learn: several pictures to tell apart, a style or a camera that changes every pixel, sounds that are
# heard in no other row.
ROW_WEIGHTS = {
    "t2a-music": 2.0,
    "t2a-singing": 4.0,
    "references-1": 2.0,
    "references-2": 2.0,
    "references-3": 3.0,
    "references-4": 3.0,
    "background-and-clip": 3.0,
    "effect-reference": 6.0,
    "inpaint-two-references": 3.0,
    "first-frame": 2.0,
    "extension": 2.0,
    "expression-reference": 3.0,
    "inpaint-background": 8.0,
    "edit-background": 3.0,
    "style": 10.0,
    "tone": 3.0,
    "camera": 10.0,
    "accessory": 5.0,
    "repattern": 4.0,
    "weather": 2.0,
    "night": 2.0,
    "music-reference": 2.0,
    "speakers": 5.0,
    "storyboard": 3.0,
    "multi-shot": 5.0,
    **{f"extension-{kind}": 3.0 for kind in CUTS},
    "extension-multi-angle": 5.0,
    "sound-to-speech": 2.0,
    "sound-to-impacts": 2.0,
    "video-to-sound": 2.0,
}
# The same for the planner: more for prompts in which it is a matter of several words and pictures who does what, and
# for those after which somebody is another one, or no longer there: what is seen is easily copied.
PLANNED_ROWS = {
    "inpaint-subject": 4.0,
    "inpaint-attribute": 3.0,
    "inpaint-reference": 3.0,
    "inpaint-moving": 3.0,
    "recolour": 3.0,
    "references-2": 3.0,
    "references-3": 3.0,
    "references-4": 3.0,
    "background-and-clip": 4.0,
    "motion-reference": 2.0,
    "expression-reference": 3.0,
    "storyboard": 5.0,
    "multi-shot": 4.0,
    "speakers": 4.0,
    **{f"extension-{kind}": 1.5 for kind in CUTS},
    "replace-subject": 6.0,
    "remove-subject": 6.0,
    "add-subject": 6.0,
    "inpaint-two-references": 2.0,
    "key-frames": 2.0,
}
# Portions of cases: in stills, in five frames, in whole clips. Of fewer, a third were learnt by heart (docs/log.md).
CASES_1, CASES_5, CASES_33 = 9, 4, 8
TOKENS = 2_400  # video tokens of a step on cases, references included
STILL_TOKENS, SOUNDS_A_STEP, LARGEST = 16, 64, 40
PLAIN_ROWS = ("t2av", "t2i")  # the other shares of a stage are these


def _cases(
    streams: tuple[str, ...], weight: float, frames: int = 33, shards: int = CASES_33, batch_scale: int = 1
) -> list[Share]:
    """Cases of every row that has something of the streams to learn in so many frames."""
    rows = [row for row in ROWS.values() if row.name not in PLAIN_ROWS and _teaches(row, streams, frames)]
    weights = [ROW_WEIGHTS.get(row.name, 1.0) for row in rows]
    return [
        Share(Bucket(frames, row=row.name), weight * own / sum(weights), _case_batch(row, frames) * batch_scale, shards)
        for row, own in zip(rows, weights, strict=True)
    ]


def _sound_cases(weight: float) -> list[Share]:
    """Cases of the rows that are about a sound, and that are not given it."""
    about = lambda row: row.group == "sound" or not row.has_picture  # noqa: E731
    shares = [share for share in _cases(("audio",), 1.0) if about(row := ROWS[share.bucket.row]) and row.has_sound]
    shares = [share for share in shares if sample_example(share.bucket.row, seed=0).given != "sound"]
    total = sum(share.weight for share in shares)
    return _scaled(shares, weight / total)


def _teaches(row: Row, streams: tuple[str, ...], frames: int) -> bool:
    if "audio" in streams:
        return True
    if frames < 33:
        # What takes time, or is about one moment among others, cannot be seen in a still or a handful of frames.
        shown = row.group in ("inpainting", "editing") or row.name.startswith("references")
        return (shown and row.name != "camera") or (row.name == "first-frame" and frames > 1)
    # What these are about is in their sound.
    return row.has_picture and row.group not in ("sound", "speakers")


def _case_batch(row: Row, frames: int) -> int:
    """As many cases as make `TOKENS`; all cases of a row hand over as much."""
    if not row.has_picture:
        return SOUNDS_A_STEP
    example = sample_example(row.name, seed=0)
    clips = [reference.kind for reference in example.references].count("video")
    clips += example.source is not None and example.region is None
    stills = [reference.kind for reference in example.references].count("image")
    clip_tokens = STILL_TOKENS * (1 + (frames - 1) // 4)
    return min(LARGEST, TOKENS // (clip_tokens * (1 + clips) + STILL_TOKENS * stills))


PLANNED_GUIDANCE = [1.0, 1.0]  # none at all: what a layout says need not be exaggerated (docs/log.md)
STEPS = 16  # of sampling; clips of 30 and of 10 are as good, for layouts and sketches say most of it (docs/log.md)
NAMING = 0.1  # see `Stage.naming`; tried in `everything` alone (docs/log.md)


def plan() -> TrainingPlan:
    """Codecs, text encoder, nine stages of the transformer, reader, planner, and the decoder once more; the shares of
    the minutes sum to 1."""
    stills = [Share(Bucket(1), 0.85, 96, STILL_SHARDS), *_other_aspects(1, 0.15, 64, 3)]
    reading = Stage(
        name="reading",
        streams=("video",),
        learns=("video", "text"),
        reads=True,
        starts_from={},
        shares=stills,
        minutes_share=0.06,
        muon_lr=0.02,
        adamw_lr=0.003,
    )
    images = replace(
        reading,
        name="images",
        learns=("video",),
        reads=False,
        starts_from={"video": "reading"},
        minutes_share=0.07,
        naming=NAMING,
    )
    # What a layout says of a token takes no tower and no noise to learn: minutes of large batches (`models/sketch.py`).
    sketch = replace(
        images,
        name="sketch",
        streams=("video", "audio"),
        learns=("sketch",),
        starts_from={},
        shares=[
            *_scaled(_with_stills(_clips(3.0), 0.15), 0.3),
            *_cases(("video",), 0.12, frames=1, shards=CASES_1, batch_scale=3),
            *_cases(("video",), 0.1, frames=5, shards=CASES_5, batch_scale=3),
            *(share for share in _cases(("video", "audio"), 0.5, batch_scale=6) if "video" in share.bucket.streams),
        ],
        minutes_share=0.06,
        muon_lr=0.01,
        adamw_lr=0.0015,
        text_dropout=0.0,
        layout_dropout=0.0,
        layout_dropout_given=0.0,
        naming=0.0,
        begun=0.3,
        decay=0.7,
    )
    video = replace(
        images,
        name="video",
        learns=("video", "sketch"),
        starts_from={"video": "images", "sketch": "sketch"},
        shares=_with_stills(_clips()),
        minutes_share=0.11,
        times=TimeSampling(mean=-0.5),
    )
    sound = replace(
        images,
        name="sound",
        streams=("audio",),
        learns=("audio",),
        starts_from={},
        shares=_clips(5.0),
        minutes_share=0.05,
        times=TimeSampling(mean=0.0),
    )
    following = replace(
        images,
        name="following",
        streams=("video", "audio"),
        learns=("audio", "cross"),
        starts_from={"video": "video", "sketch": "video", "audio": "sound"},
        shares=[*_scaled(_clips(1.5), 0.5), *_sound_cases(0.5)],
        minutes_share=0.06,
        muon_lr=0.01,
        adamw_lr=0.002,
        times=TimeSampling(mean=-0.2, shared=0.3),
    )
    joint = replace(
        following,
        name="joint",
        learns=("video", "audio", "cross", "sketch"),
        starts_from=dict.fromkeys(("video", "audio", "cross", "sketch"), "following"),
        shares=_with_stills(_clips(), 0.2),
        minutes_share=0.12,
        muon_lr=0.007,
        adamw_lr=0.0015,
        times=TimeSampling(mean=-0.3, shared=0.5, clean_video=0.12, clean_audio=0.08),
        decay=0.7,
    )
    tasks = replace(
        video,
        name="tasks",
        learns=("video", "sketch", "text"),
        starts_from=dict.fromkeys(("video", "audio", "cross", "sketch"), "joint"),
        # Most of what a task asks (to keep what is kept, to look at a reference, what an instruction means) can be seen
        # in a still, at a ninth of the cost.
        shares=[
            *_scaled(_with_stills(_clips()), 0.45),  # a quarter was too little: plain clips were forgotten
            *_cases(("video",), 0.3, frames=1, shards=CASES_1),
            *_cases(("video",), 0.15, frames=5, shards=CASES_5),
            *_cases(("video",), 0.1),
        ],
        minutes_share=0.12,
        begun=0.15,
        muon_lr=0.012,
        adamw_lr=0.002,
        text_rate=0.3,  # the sound's tower reads the same text, and hears nothing of this stage
        reads=True,  # without, words that pictures have no use for were forgotten: voices
    )
    everything = replace(
        joint,
        name="everything",
        learns=("video", "audio", "cross", "sketch"),  # the text encoder is what the planner reads: it stays
        starts_from={"video": "tasks", "sketch": "tasks", "audio": "joint", "cross": "joint"},
        shares=[
            *_scaled(_with_stills(_clips(), 0.25), 0.4),
            *_cases(("video",), 0.22, frames=1, shards=CASES_1),
            *_cases(("video",), 0.06, frames=5, shards=CASES_5),
            *_cases(("video", "audio"), 0.32),
        ],
        minutes_share=0.12,
        begun=0.15,
        muon_lr=0.009,
        times=replace(joint.times, clean_video=0.15),
    )
    return TrainingPlan(
        name="pocket",
        transformer=transformer,
        codec_minutes_share=0.13,
        text_minutes_share=0.01,
        brief_minutes_share=0.01,
        reader_minutes_share=0.02,
        planner_minutes_share=0.04,
        decoder_minutes_share=0.02,
        stages=(reading, images, sketch, video, sound, following, joint, tasks, everything),
        planned=PLANNED_ROWS,
    )


def _scaled(shares: list[Share], weight: float) -> list[Share]:
    return [replace(share, weight=share.weight * weight) for share in shares]


def tiny_plan() -> TrainingPlan:
    """The same life in miniature, for tests: every part exists, nothing is learned."""
    full = plan()

    def shrink(stage: Stage) -> Stage:
        frames = 1 if stage.name in ("reading", "images") else 5
        cases = [Share(Bucket(17, row="extension"), 1.0, 2, 1)] if stage.name in ("tasks", "everything") else []
        return replace(stage, shares=[Share(Bucket(frames), 1.0, 2, 1), *cases])

    stages = tuple(shrink(stage) for stage in full.stages)
    return replace(full, name="tiny", transformer=_tiny_transformer, stages=stages)


# A function of the module, like `transformer`: the processes of a training receive the plan by pickle.
def _tiny_transformer(video_channels: int, audio_channels: int, text_dim: int) -> SkyReelsV4Transformer:
    return SkyReelsV4Transformer(
        video_channels,
        audio_channels,
        text_dim,
        num_heads=2,
        rope_axis_dims=(4, 6, 6),
        num_dual_layers=1,
        num_single_layers=1,
        modulation_rank=8,
        time_bias_slope=1.0,
        layout_classes=LAYOUT_CLASSES,
        brief_numbers=BRIEF_NUMBERS,
    )


def export(training_plan: TrainingPlan, workdir: Path, folder: Path) -> SkyReelsV4Pipeline:
    """The furthest stage's averaged weights and the frozen parts: a diffusers folder in bfloat16, shards <= 16 MiB.

    Raises ValueError where the planner has learnt to read another text encoder than that stage's.
    """
    codecs, encoder = load_components(workdir)
    model = furthest(training_plan, workdir, codecs, encoder)
    of_layouts = {"reader": LayoutReader, "planner": LayoutPlanner} if model.config.layout_classes is not None else {}
    of_layouts = {name: kind for name, kind in of_layouts.items() if (workdir / name).is_dir()}
    pipeline = SkyReelsV4Pipeline(
        transformer=model,
        video_vae=codecs.video.vae,
        audio_vae=codecs.audio.vae,
        vocoder=codecs.audio.vocoder,
        text_encoder=encoder.model,
        tokenizer=encoder.tokenizer,
        brief=encoder.brief,
        **{name: kind.from_pretrained(workdir / name) for name, kind in of_layouts.items()},
        steps=STEPS,
        planned_guidance=PLANNED_GUIDANCE,
    )
    for module in pipeline.components.values():
        for parameter in module.parameters() if isinstance(module, torch.nn.Module) else ():
            parameter.data = parameter.data.to(torch.bfloat16)
    pipeline.save_pretrained(folder, max_shard_size="16MB")
    return pipeline
