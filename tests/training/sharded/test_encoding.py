"""Clips of a data set as latents: those of the model's own codecs, of the lengths and with the sound that belong."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from openreels.media import Clip
from openreels.media.error import MediaError
from openreels.pipelines.registry import POCKET
from openreels.tasks.window import Model
from openreels.training.sharded.cached import CachedData
from openreels.training.sharded.encoding import ClipEncoder, encode_clips, trimmed
from openreels.training.sharded.listing import Listed

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def encoder(tiny_pipeline) -> ClipEncoder:
    parts = tiny_pipeline.video_codec, tiny_pipeline.audio_codec, tiny_pipeline.encoder
    return ClipEncoder(Model(POCKET, 16, 4, 1), *parts)


@pytest.fixture
def clip() -> Clip:
    """Thirty frames of 64 x 96 pixels at 16 fps, with sound at the model's rate."""
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, (30, 64, 96, 3), np.uint8)
    return Clip(frames, Fraction(16), draw.uniform(-0.5, 0.5, (1, 30_000)).astype(np.float32), 16_000)


def saved(clip: Clip, path) -> Listed:
    return Listed(clip.save(path), "a red ball", name=path.name)


def test_frames_and_sound_are_those_of_whole_latent_frames(encoder, clip, tmp_path):
    listed = saved(clip, tmp_path / "a.mp4")
    stored = Clip.open(listed.path)
    found = encoder(listed)
    assert found["grid"] == (8, 4, 6)  # 29 of 30 frames, 3:2 shown as 4:3 on a canvas of 64 x 96
    canvas = encoder.model.canvas("4:3", None)
    drawn = canvas.drawn(canvas.filled(stored)[:29])
    assert torch.equal(found["video_NC"], encoder.video.encode(drawn[None])[0])
    sound = torch.from_numpy(stored.audio[:, :29_000])
    assert torch.equal(found["audio_AC"], encoder.audio.encode(sound)[0])
    context = encoder.text.encode(["a red ball"])
    assert torch.equal(found["context_LD"], context.hidden_BLD[0])


def test_stills_sounds_and_references(encoder, clip, tmp_path):
    still = encoder(saved(replace(clip, frames=clip.frames[:1], audio=None, sample_rate=0), tmp_path / "a.png"))
    assert still["grid"] == (1, 4, 6) and "audio_AC" not in still

    sound = encoder(saved(replace(clip, frames=None, fps=Fraction(0)), tmp_path / "a.wav"))
    assert "grid" not in sound and sound["latent_frames"] == 8 and len(sound["audio_AC"]) == 29

    whole = saved(clip, tmp_path / "a.mp4")
    found = encoder(replace(whole, caption="@it jumps", references={"it": tmp_path / "a.png"}))
    assert found["reference_grids"] == [(1, 4, 6)] and len(found["references_NC"][0]) == 24
    # Generation calls the first picture so, whatever its user does.
    assert torch.equal(found["context_LD"], encoder.text.encode(["@image_1 jumps"]).hidden_BLD[0])


def test_long_clips_are_shortened_to_what_the_model_makes(encoder, clip, tmp_path):
    frames = np.repeat(clip.frames, 4, axis=0)
    found = encoder(saved(replace(clip, frames=frames), tmp_path / "a.mp4"))
    assert found["grid"][0] == 17  # 65 frames, four seconds
    assert len(found["audio_AC"]) == 65


def test_a_part_of_a_clip(clip):
    part = trimmed(clip, 0.5, 1.25)
    assert np.array_equal(part.frames, clip.frames[8:20]) and np.array_equal(part.audio, clip.audio[:, 8_000:20_000])
    assert trimmed(clip, 0.0, None) is clip


def test_what_was_encoded_before_a_file_that_cannot_be_read_is_kept(encoder, clip, tmp_path):
    short = replace(clip, frames=clip.frames[:6], audio=None, sample_rate=0)
    clips = [saved(short, tmp_path / f"{n}.mp4") for n in "ab"]
    clips[1].path.write_bytes(clips[1].path.read_bytes()[:100])
    with pytest.raises(MediaError, match=r"b\.mp4 holds neither video nor sound"):
        encode_clips(clips, encoder, tmp_path / "latents", "model")
    assert [entry.source for entry in CachedData(tmp_path / "latents").entries] == ["a.mp4"]


def test_an_interrupted_encoding_goes_on_and_follows_its_list(encoder, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("openreels.training.sharded.encoding.CLIPS_PER_SHARD", 2)
    short = replace(clip, frames=clip.frames[:6], audio=None, sample_rate=0)
    clips = [replace(saved(short, tmp_path / f"{n}.mp4"), caption=f"a {n} ball") for n in "abcd"]
    encoded = []

    def stop_at(count):
        def progress(done, total):
            encoded.append(done)
            if done == count:
                raise KeyboardInterrupt

        return progress

    folder = tmp_path / "latents"
    with pytest.raises(KeyboardInterrupt):
        encode_clips(clips, encoder, folder, "model", stop_at(3))
    before = load_file(folder / "00000.safetensors")
    assert [entry.source for entry in CachedData(folder).entries] == ["a.mp4", "b.mp4", "c.mp4"]

    (tmp_path / "a.mp4").unlink()  # would be missed if it were opened again
    encode_clips(clips, encoder, folder, "model")
    assert [entry.source for entry in CachedData(folder).entries] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert all(torch.equal(before[name], tensor) for name, tensor in load_file(folder / "00000.safetensors").items())

    encode_clips(clips[1:], encoder, folder, "model")
    assert [entry.source for entry in CachedData(folder).entries] == ["b.mp4", "c.mp4", "d.mp4"]
    with pytest.raises(ValueError, match="holds latents of model, not of another"):
        encode_clips(clips, encoder, folder, "another")
