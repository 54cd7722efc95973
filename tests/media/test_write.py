import dataclasses
import json
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from openreels.media import Clip, MediaError
from openreels.media.recipe import Recipe
from openreels.media.write import check_output

METADATA = {"title": "红色的球 bounces", "comment": json.dumps({"prompt": "x" * 20_000, "[]": "é"}), "mood": "calm"}


@pytest.mark.parametrize("fps", [Fraction(16), Fraction(30000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_video_comes_back(make, tmp_path, fps, suffix):
    clip = make.moving_clip(17, fps=fps, sample_rate=44_100, channels=2, metadata=METADATA)
    back = Clip.open(clip.save(tmp_path / f"a{suffix}"))
    assert back.fps == fps
    assert make.indices(back.frames) == list(range(17))
    assert np.abs(back.frames.astype(int) - clip.frames).max() <= 2
    assert back.audio.shape == clip.audio.shape
    assert np.sqrt(np.mean((back.audio - clip.audio) ** 2)) < 0.03
    assert dict(back.metadata) == METADATA


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a"])
def test_a_sound_comes_back(make, tmp_path, suffix):
    clip = Clip(audio=make.tone(1, 16_000), sample_rate=16_000, metadata=METADATA)
    back = Clip.open(clip.save(tmp_path / f"a{suffix}"))
    assert back.audio.shape == clip.audio.shape
    assert np.sqrt(np.mean((back.audio - clip.audio) ** 2)) < 0.03
    assert all(back.metadata[key] == METADATA[key] for key in ("title", "comment"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_a_picture_comes_back(make, tmp_path, suffix):
    clip = Clip(make.greys(1, 47, 65), Fraction(16), metadata=METADATA)
    back = Clip.open(clip.save(tmp_path / f"a{suffix}"))
    assert np.abs(back.frames.astype(int) - clip.frames).max() <= 2
    assert dict(back.metadata) == METADATA


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (128, 128, 128)])
def test_colours_survive_the_way_through_bt709(tmp_path, colour):
    clip = Clip(np.full((3, 32, 32, 3), colour, np.uint8), Fraction(16))
    back = Clip.open(clip.save(tmp_path / "a.mp4"))
    assert np.abs(back.frames.astype(int) - colour).max() <= 3


# Widths at which x264's macroblock tree reads uninitialised memory; decoding in between stirs the heap.
@pytest.mark.parametrize("width", [86, 96])
def test_equal_clips_are_equal_files(make, tmp_path, width):
    clip = make.moving_clip(24, 64, width, metadata=METADATA)
    noise = np.random.default_rng(0).integers(0, 64, clip.frames.shape, np.uint8)
    clip = dataclasses.replace(clip, frames=clip.frames // 2 + noise)
    contents = set()
    for trial in range(4):
        contents.add(clip.save(tmp_path / f"{trial}.mp4").read_bytes())
        Clip.open(tmp_path / f"{trial}.mp4")
    assert len(contents) == 1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a"])
def test_equal_sounds_are_equal_files(make, tmp_path, suffix):
    clip = Clip(audio=make.tone(1, 16_000), sample_rate=16_000, metadata=METADATA)
    assert clip.save(tmp_path / f"a{suffix}").read_bytes() == clip.save(tmp_path / f"b{suffix}").read_bytes()


def test_it_plays_anywhere(make, tmp_path):
    path = make.moving_clip(17).save(tmp_path / "a.mp4")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # starts before it is loaded whole
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert container.streams.audio[0].codec_context.name == "aac"


@pytest.mark.parametrize(("height", "width"), [(47, 65), (1, 1), (48, 65)])
def test_odd_sizes_repeat_their_edge(tmp_path, height, width):
    frames = np.full((3, height, width, 3), 90, np.uint8)
    frames[:, -1] = frames[:, :, -1] = 200
    back = Clip.open(Clip(frames, Fraction(16)).save(tmp_path / "a.mp4")).frames
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    if width % 2 and width > 1:
        assert np.abs(back[:, 4:-4, -1].astype(int) - 200).max() < 20
        assert np.abs(back[:, 4:-4, -2].astype(int) - 200).max() < 20


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100, 22_255, 192_000])
def test_sound_is_as_long_as_the_video(make, tmp_path, seconds, sample_rate):
    clip = Clip(make.greys(17), Fraction(16), make.tone(seconds, sample_rate), sample_rate)
    back = Clip.open(clip.save(tmp_path / "a.mp4"))
    assert abs(back.audio.shape[1] / back.sample_rate - 17 / 16) <= 1 / 16
    assert len(back.frames) == 17


def test_nothing_clicks_at_the_start(tmp_path):
    # FFmpeg's default AAC coder ruins the first block of sound that does not begin in silence.
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    back = Clip.open(Clip(audio=noise, sample_rate=16_000).save(tmp_path / "a.m4a"))
    error = np.sqrt(((back.audio - noise) ** 2).reshape(-1, 500).mean(axis=1))
    assert error.max() < 2.5 * np.median(error)


def test_too_loud_is_clipped_not_wrapped(tmp_path):
    loud = np.full((1, 1600), 1.7, np.float32)
    back = Clip.open(Clip(audio=loud, sample_rate=16_000).save(tmp_path / "a.wav"))
    assert back.audio.min() > 0.99


@pytest.mark.parametrize(
    ("kind", "name", "match"),
    [
        ("video", "a.xyz", r"cannot hold a video; accepted are names that end in \.mp4, \.mov$"),
        ("video", "a", "cannot hold a video"),
        ("video", "a.wav", "cannot hold a video"),
        ("video", "a.png", "cannot hold a video"),
        ("sound", "a.mp4", r"cannot hold a sound; accepted are names that end in \.wav"),
        ("video", "nowhere/a.mp4", "there is no folder"),
        ("video", "folder.mp4", "is a folder"),
        ("video", "x" * 300 + ".mp4", "file name too long"),
    ],
)
def test_an_impossible_output_is_refused_before_any_work(make, tmp_path, monkeypatch, kind, name, match):
    (tmp_path / "folder.mp4").mkdir()
    clip = make.moving_clip() if kind == "video" else Clip(audio=make.tone(1, 16_000), sample_rate=16_000)
    monkeypatch.setattr("openreels.media.write.atomic", lambda _: pytest.fail("work began"))
    with pytest.raises(MediaError, match=match) as caught:
        clip.save(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(make, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="permission denied"):
        make.moving_clip().save(tmp_path / "a.mp4")


def test_a_folder_that_takes_no_files():
    with pytest.raises(MediaError, match="cannot be written"):
        check_output("/proc/a.mp4", video=True, audio=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(make, tmp_path, monkeypatch, error):
    (tmp_path / "a.mp4").write_text("precious")
    encoded = []

    def fail(*_):
        encoded.append(1)
        raise error

    monkeypatch.setattr("openreels.media.write.video_frame", fail)
    with pytest.raises(MediaError if isinstance(error, OSError) else KeyboardInterrupt):
        make.moving_clip().save(tmp_path / "a.mp4")
    assert encoded
    assert (tmp_path / "a.mp4").read_text() == "precious"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_the_file_has_the_usual_permissions(make, tmp_path):
    (tmp_path / "other").touch()
    path = make.moving_clip().save(tmp_path / "a.mp4")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_names_that_ffmpeg_would_take_for_a_protocol_or_pattern(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "50%d.mp4", "-o.mp4", "红.mp4"):
        make.moving_clip().save(name)
        assert len(Clip.open(name).frames) == 9


def test_seven_channels_are_refused_with_the_counts_that_are_not(make, tmp_path):
    with pytest.raises(MediaError, match="7 channels; accepted are 1, 2, 3"):
        Clip(audio=make.tone(1, 16_000, 7), sample_rate=16_000).save(tmp_path / "a.m4a")
    with pytest.raises(MediaError, match="6 channels; accepted are 1, 2"):
        Clip(audio=make.tone(1, 16_000, 6), sample_rate=16_000).save(tmp_path / "a.mp3")


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_recipe_travels_with_the_clip(make, tmp_path, suffix):
    request = {"prompt": "一个红色的球 " * 500, "seed": 2**63 - 1, "duration": 2.0, "steps": None}
    recipe = Recipe.here(request, "pocket", "sha256:abc", "cpu float32")
    back = Clip.open(make.moving_clip(metadata=recipe.to_metadata()).save(tmp_path / f"a{suffix}"))
    assert Recipe.from_metadata(back.metadata) == recipe


def test_recipes_of_others_and_broken_ones():
    assert Recipe.from_metadata({}) is None
    assert Recipe.from_metadata({"comment": "shot on my phone"}) is None
    assert Recipe.from_metadata({"comment": '{"workflow": 1}'}) is None
    with pytest.raises(MediaError, match=r"in a\.mp4 is damaged: it lacks request, model"):
        Recipe.from_metadata({"comment": '{"openreels": "0.1"}'}, source="a.mp4")
    stored = dataclasses.asdict(Recipe.here({"prompt": "x"}, "pocket", "abc", "cpu float32"))
    for name, value in {"model": None, "request": [], "files": "x"}.items():
        with pytest.raises(MediaError, match=f"is damaged: its {name} is"):
            Recipe.from_metadata({"comment": json.dumps(stored | {name: value})})


def test_recipes_tell_their_differences():
    recipe = Recipe.here({"prompt": "x"}, "pocket", "abc", "cpu float32")
    assert recipe.differences(recipe) == []
    assert recipe.differences(dataclasses.replace(recipe, weights="def")) == ["weights abc, now def"]
    moved = dataclasses.replace(recipe, device="cuda bfloat16")
    assert recipe.differences(moved) == ["device cpu float32, now cuda bfloat16"]


def test_recipes_know_the_files_they_were_made_of(tmp_path):
    cat, gone = tmp_path / "cat.png", tmp_path / "gone.png"
    cat.write_bytes(b"one")
    here = lambda: Recipe.here({}, "pocket", "abc", "cpu float32", [str(cat), str(gone)])  # noqa: E731
    before = here()
    assert [*before.files] == [str(cat)] and before.differences(here()) == []
    cat.write_bytes(b"two")
    assert before.differences(here()) == [f"{cat} is not what it was"]


def test_recipes_of_earlier_versions_say_nothing_of_device_and_files():
    stored = dataclasses.asdict(Recipe.here({"prompt": "x"}, "pocket", "abc", "cpu float32"))
    old = {name: value for name, value in stored.items() if name not in ("device", "files")}
    recipe = Recipe.from_metadata({"comment": json.dumps(old)})
    assert recipe.differences(Recipe.here({"prompt": "x"}, "pocket", "abc", "cuda bfloat16")) == []
