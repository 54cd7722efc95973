"""`openreels encode`: clips of one's own to latents, and what is refused before a model is loaded."""

import json
from fractions import Fraction
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from openreels.media import Clip
from openreels.training.sharded.cached import CachedData


@pytest.fixture
def clips(tmp_path):
    """A clip with sound, a still and a sound, with captions."""
    folder = tmp_path / "clips"
    folder.mkdir()
    frames = np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), np.uint8)
    sound = np.zeros((1, 17_000), np.float32)
    Clip(frames, Fraction(16), sound, 16_000).save(folder / "ball.mp4")
    Clip(frames[:1], Fraction(1)).save(folder / "ball.png")
    Clip(audio=sound, sample_rate=16_000).save(folder / "hum.wav")
    for name in ("ball", "hum"):
        (folder / f"{name}.txt").write_text("A red ball")
    return folder


def test_clips_become_latents(openreels, pocket, clips, tmp_path):
    outcome = openreels("encode", "clips", "-o", "latents", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["clips"] == {"clips with sound": 1, "stills": 1, "sounds": 1}
    assert {"text-to-image", "text-to-video-audio", "text-to-audio"} <= {*found["tasks"]}
    assert "image-reference" not in found["tasks"]
    entries = CachedData(tmp_path / "latents").entries
    assert [entry.grid for entry in entries] == [(5, 4, 4), (1, 4, 4), None]
    assert [entry.audio_tokens for entry in entries] == [17, 0, 17]

    (clips / "ball.png").unlink()
    assert "latents: 1 clips with sound, 1 sounds, for " in openreels("encode", "clips", "-o", "latents").out


MISTAKES = {
    "no clips": (["nothing"], "clips must be a folder or a table (.jsonl), not nothing"),
    "resolution": (["clips", "--resolution", "480p"], "pocket accepts resolutions of 64p, not 480p"),
    "model": (["clips", "--model", "a/b"], "must be a name or a folder here, not the hub id a/b"),
    "device": (["clips", "--device", "tpu"], "--device must be one of cpu, cuda, not 'tpu'"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(openreels, pocket, clips, tmp_path, arguments, sentence):
    outcome = openreels("encode", *arguments, "-o", "latents")
    assert outcome.code == 2 and sentence in outcome.err
    assert not (tmp_path / "latents").exists()


def test_a_reference_that_is_shown_must_be_mentioned(openreels, pocket, clips, tmp_path):
    """By a model whose text encoder sees: it has a processor for pictures."""
    line = {"path": "ball.mp4", "caption": "A red ball", "references": {"it": "ball.png"}}
    (clips / "table.jsonl").write_text(json.dumps(line))
    pocket.folder = Path(copytree(pocket.folder, tmp_path / "sees"))
    index = json.loads((pocket.folder / "model_index.json").read_text())
    index["image_processor"] = ["transformers", "Qwen2VLImageProcessor"]
    (pocket.folder / "model_index.json").write_text(json.dumps(index))
    outcome = openreels("encode", "clips/table.jsonl", "-o", "latents")
    assert outcome.code == 2 and "ball.mp4: its caption must mention @it, for the text" in outcome.err
    assert not (tmp_path / "latents").exists()


def test_a_damaged_clip_is_named_before_anything_is_encoded(openreels, pocket, clips, tmp_path):
    (clips / "ball.mp4").write_bytes(b"no film")
    outcome = openreels("encode", "clips", "-o", "latents")
    assert outcome.code == 2 and "1 of 3 clips cannot be used: " in outcome.err and "ball.mp4" in outcome.err
    assert not (tmp_path / "latents").exists()
