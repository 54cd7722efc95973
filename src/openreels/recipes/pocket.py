"""The pocket model: sizes of every part, and the whole life of its weights from nothing to a shipped folder.

Measured results and what was tried on the way: docs/log.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.training.latents import Bucket
from openreels.training.plan import TrainingPlan, load_components, load_parts
from openreels.training.stages import Share, Stage, TimeSampling

__all__ = ["export", "plan", "tiny_plan", "transformer"]

SQUARE, PORTRAIT, TALL, LANDSCAPE, WIDE = "1:1", "3:4", "9:16", "4:3", "16:9"
STILL_SHARDS = 96
CANVASES = {LANDSCAPE: (64, 96), WIDE: (64, 128), PORTRAIT: (96, 64), TALL: (128, 64)}


def transformer(video_channels: int = 32, audio_channels: int = 20, text_dim: int = 128) -> SkyReelsV4Transformer:
    """9.4M parameters: width 192, two dual-stream and four single-stream layers in both towers."""
    return SkyReelsV4Transformer(
        video_channels=video_channels,
        audio_channels=audio_channels,
        text_dim=text_dim,
        num_heads=6,
        rope_axis_dims=(8, 12, 12),
        num_dual_layers=2,
        num_single_layers=4,
        mlp_ratio=3.0,
        rope_theta=100.0,
        modulation_rank=32,
        time_bias_slope=4.0,
        gaussian_skip=True,
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
        Share(Bucket(33), 0.45, size(24), 32),
        Share(Bucket(65), 0.05, size(12), 3),
        *_other_aspects(33, 0.15, size(16), 1),
    ]


def _with_stills(clips: list[Share], weight: float = 0.3) -> list[Share]:
    """The clips, and stills among them: without, a model that learns to move things forgets how they look.

    (Error of the velocity on stills: 0.46 after the images stage, 0.58 again after 1,350 steps of clips alone.)
    """
    rest = [replace(share, weight=share.weight * (1 - weight)) for share in clips]
    return [Share(Bucket(1), weight, 96, STILL_SHARDS, streams=("video",)), *rest]


def plan() -> TrainingPlan:
    """Codecs, text encoder, then six stages of the transformer; the shares of the minutes sum to 1."""
    stills = [Share(Bucket(1), 0.85, 96, STILL_SHARDS), *_other_aspects(1, 0.15, 64, 3)]
    reading = Stage(
        name="reading",
        streams=("video",),
        learns=("video", "text"),
        starts_from={},
        shares=stills,
        minutes_share=0.10,
        muon_lr=0.02,
        adamw_lr=0.003,
    )
    images = replace(
        reading,
        name="images",
        learns=("video",),
        starts_from={"video": "reading"},
        minutes_share=0.16,
    )
    video = replace(
        images,
        name="video",
        starts_from={"video": "images"},
        shares=_with_stills(_clips()),
        minutes_share=0.15,
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
        starts_from={"video": "video", "audio": "sound"},
        shares=_clips(1.5),
        minutes_share=0.1,
        muon_lr=0.01,
        adamw_lr=0.002,
        times=TimeSampling(mean=-0.2, shared=0.3),
    )
    joint = replace(
        following,
        name="joint",
        learns=("video", "audio", "cross"),
        starts_from={"video": "following", "audio": "following", "cross": "following"},
        shares=_with_stills(_clips(), 0.2),
        minutes_share=0.22,
        muon_lr=0.007,
        adamw_lr=0.0015,
        times=TimeSampling(mean=-0.3, shared=0.5, clean_video=0.12, clean_audio=0.08),
        decay=0.7,
    )
    return TrainingPlan(
        name="pocket",
        transformer=transformer,
        codec_minutes_share=0.18,
        text_minutes_share=0.04,
        stages=(reading, images, video, sound, following, joint),
    )


def tiny_plan() -> TrainingPlan:
    """The same life in miniature, for tests: every part exists, nothing is learned."""
    full = plan()

    def shrink(stage: Stage) -> Stage:
        frames = 1 if stage.name in ("reading", "images") else 5
        return replace(stage, shares=[Share(Bucket(frames), 1.0, 2, 1)])

    stages = tuple(shrink(stage) for stage in full.stages)
    return replace(full, name="tiny", transformer=_tiny_transformer, stages=stages)


# A function of the module, like `transformer`: the processes of a training receive the plan by pickle.
def _tiny_transformer(video_channels: int, audio_channels: int, text_dim: int) -> SkyReelsV4Transformer:
    return SkyReelsV4Transformer(
        video_channels, audio_channels, text_dim, 2, (4, 6, 6), 1, 1, modulation_rank=8, time_bias_slope=1.0
    )


def export(training_plan: TrainingPlan, workdir: Path, folder: Path) -> SkyReelsV4Pipeline:
    """The last stage's averaged weights and the frozen parts: a diffusers folder in bfloat16, shards <= 16 MiB."""
    codecs, encoder = load_components(workdir)
    model = training_plan.transformer(
        codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width
    )
    last = training_plan.stages[-1].name
    load_parts(
        model, replace(training_plan.stages[-1], starts_from=dict.fromkeys(("video", "audio", "cross"), last)), workdir
    )
    pipeline = SkyReelsV4Pipeline(
        transformer=model,
        video_vae=codecs.video.vae,
        audio_vae=codecs.audio.vae,
        vocoder=codecs.audio.vocoder,
        text_encoder=encoder.model,
        tokenizer=encoder.tokenizer,
    )
    for module in (model, codecs.video.vae, codecs.audio.vae, codecs.audio.vocoder, encoder.model):
        for parameter in module.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    pipeline.save_pretrained(folder, max_shard_size="16MB")
    return pipeline
