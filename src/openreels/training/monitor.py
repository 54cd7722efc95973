"""What a training run shows: loss curves and sheets of samples, as PNG files in its work folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from openreels.encoders.text import TextEncoder
from openreels.flow.guidance import Guidance
from openreels.flow.sampling import sample
from openreels.flow.schedule import Schedule
from openreels.media import Clip
from openreels.media.sheet import contact_sheet
from openreels.models.layout import seen_layout
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.precision import autocast
from openreels.tasks.states import audio_state, video_state
from openreels.training.latents import Codecs, LatentSet, plain_film
from openreels.training.layouts import layout_of
from openreels.world import captions, sample_scene

__all__ = ["plot_losses", "sample_sheet"]


def plot_losses(workdir: Path) -> Path:
    """One panel per stage from the `*.jsonl` logs -> `losses.png`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    logs = sorted(workdir.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    figure, axes = pyplot.subplots(1, len(logs), figsize=(4 * len(logs), 3), squeeze=False)
    for axis, path in zip(axes[0], logs, strict=True):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for key in ("loss", "video", "audio"):
            if key in rows[-1]:
                axis.plot([row["step"] for row in rows], [row.get(key) for row in rows], label=key)
        axis.set(title=path.stem, xlabel="step")
        axis.legend()
    figure.tight_layout()
    figure.savefig(workdir / "losses.png", dpi=80)
    pyplot.close(figure)
    return workdir / "losses.png"


@torch.no_grad()
def sample_sheet(
    path: Path,
    stage,
    model: SkyReelsV4Transformer,
    encoder: TextEncoder,
    codecs: Codecs,
    latents: dict,
    count: int = 8,
    steps: int = 20,
) -> Path:
    """Clips of held-out prompts by the model as it is now, with the prompts beneath."""
    was_training = model.training
    model.eval()
    bucket = max(stage.shares, key=lambda share: share.weight).bucket
    data: LatentSet = latents[bucket]
    scenes = [sample_scene(seed, duration=2.0, split="held_out") for seed in range(count)]
    prompts = [captions(scene, seed).structured_en for seed, scene in enumerate(scenes)]
    generator = torch.Generator().manual_seed(0)
    video = audio = None
    if "video" in stage.streams:
        video = video_state(data.video_shape, count)
        video = video.at(torch.randn(video.noisy_BNC.shape, generator=generator), video.time_B).to(model.device)
        if model.config.layout_classes is not None:
            # As it is when the planner is right.
            layout_BSFK = torch.stack([layout_of(plain_film(scene, 0.0), data.video_shape) for scene in scenes])
            video = replace(video, layout_BNK=seen_layout(layout_BSFK, data.video_shape).to(model.device))
    if "audio" in stage.streams:
        audio = audio_state(data.audio_shape, data.video_shape.latent_frames, count)
        audio = audio.at(torch.randn(audio.noisy_BNC.shape, generator=generator), audio.time_B).to(model.device)
    with autocast(model.device):
        video, audio = sample(
            model,
            video,
            audio,
            encoder.encode(prompts),
            encoder.encode([""] * count),
            Schedule(steps, audio_lag=0.1 if video and audio else 0.0),
            Guidance(),
        )
    frames = codecs.video.decode(video.noisy_BNC.cpu(), data.video_shape).numpy() if video else [None] * count
    sound = codecs.audio.decode(audio.noisy_BNC.cpu())[:, None].numpy() if audio else [None] * count
    clips = [
        Clip(frames=f, fps=codecs.fps, audio=s, sample_rate=codecs.audio.sample_rate)
        for f, s in zip(frames, sound, strict=True)
    ]
    contact_sheet(clips, prompts).save(path)
    model.train(was_training)
    return path
