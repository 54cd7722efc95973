"""What the folder of a whole model says of itself: the arguments of `SkyReelsV4Pipeline` that follow from a preset."""

from __future__ import annotations

from typing import Any

from openreels.recipes.presets import Preset
from openreels.recipes.v4_phases import PHASES

__all__ = ["pipeline_settings"]


def pipeline_settings(preset: Preset) -> dict[str, Any]:
    """For a preset that goes through the paper's schedule: it offers the sizes and lengths of that, all of them.

    What is made where nothing is asked is ours: 480p, 5 s, as the sources of warm starts are used most.
    """
    videos = [phase.published for phase in PHASES if phase.published.videos and phase.published.seconds]
    sides = sorted({side for published in videos for side in published.resolutions})
    return {
        "fps": preset.fps,
        "text_layer": -1 - preset.text.hidden_layer,
        "audio_channels": preset.transformer["audio_channels"] // preset.audio.channels,
        "offers": {
            "durations": [min(p.seconds[0] for p in videos), max(p.seconds[1] for p in videos)],
            "resolutions": [f"{side}p" for side in sides],
            "duration": 5.0,
            "resolution": "480p",
        },
    }
