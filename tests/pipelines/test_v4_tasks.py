"""Every task, from a request and its media to a clip: tiny random weights of the real classes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from openreels.media import Clip
from openreels.media.error import MediaError
from openreels.media.recipe import Recipe
from openreels.pipelines.reel import Reel
from openreels.pipelines.registry import POCKET
from openreels.request import Request, RequestError

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = 16_000


def picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def clip(seed: int, frames: int = 17, sound: bool = True, height: int = 64, width: int = 64, fps: int = 16) -> Clip:
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    if not sound:
        return Clip(pixels, Fraction(fps))
    samples = noise.uniform(-0.5, 0.5, (1, frames * RATE // fps)).astype(np.float32)
    return Clip(pixels, Fraction(fps), samples, RATE)


def tone(seed: int, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> Clip:
    noise = np.random.default_rng(seed)
    return Clip(audio=noise.uniform(-0.5, 0.5, (channels, int(seconds * rate))).astype(np.float32), sample_rate=rate)


MEDIA = {
    "cat.png": Clip(picture(1), 1),
    "dog.png": Clip(picture(2, 90, 50), 1),
    "film.mp4": clip(3),
    "silent.mp4": clip(4, sound=False),
    "short.mp4": clip(5, 13),
    "long.mp4": clip(6, 80),
    "large.mp4": clip(7, 30, height=90, width=160, fps=24),
    "voice.wav": tone(8),
    "song.flac": tone(9, 1.25, 44_100, 2),
}


@pytest.fixture
def reel(tiny_pipeline):
    return Reel(tiny_pipeline, "tiny", "0" * 16)


def asked(**fields) -> Request:
    prompt = fields.pop("prompt", "a red ball bounces")
    open_ = {"use": ("edit", "sound"), "audio": None, "modality": ("image",)}
    fixed = any(fields.get(name) in values if values else name in fields for name, values in open_.items())
    fixed = fixed or any("audio" in speaker for speaker in fields.get("speakers", ()))
    return Request.parse({"prompt": prompt, "steps": 2} | ({} if fixed else {"duration": 1.0}) | fields)


BOX = {"box": [0.25, 0.25, 0.75, 0.75]}
CAT, DOG = {"tag": "cat", "path": "cat.png"}, {"tag": "dog", "path": "dog.png"}
MOVES, VOICE = {"tag": "moves", "path": "film.mp4"}, {"tag": "voice", "path": "voice.wav"}
TASKS = {
    "t2av": {},
    "t2v": {"modality": "video"},
    "t2a": {"modality": "audio"},
    "t2i": {"modality": "image"},
    "i2v": {"keyframes": [{"path": "cat.png", "at": "first"}, {"path": "dog.png", "at": 0.5}]},
    "v2v": {"video": "short.mp4"},
    "v2v-shot": {"video": "short.mp4", "transition": "cut-in"},
    "rv2v": {"video": "short.mp4", "references": [CAT], "prompt": "@cat enters"},
    "r2v": {"references": [CAT, DOG, MOVES, VOICE], "prompt": "@cat moves like @moves, @dog says in @voice"},
    "r2i": {"references": [CAT], "modality": "image"},
    "r2a": {"references": [VOICE], "modality": "audio"},
    "edit": {"video": "film.mp4", "use": "edit", "references": [CAT]},
    "inpaint": {"video": "film.mp4", "use": "edit", "masks": [BOX]},
    "retake": {"video": "film.mp4", "use": "edit", "span": [0.25, 0.75]},
    "v2a": {"video": "film.mp4", "use": "sound"},
    "a2v-drive": {"audio": "voice.wav"},
    "a2v": {"image": "cat.png", "speakers": [{"audio": "voice.wav"}]},
    "speakers": {
        "image": "cat.png",
        "references": [DOG],
        "speakers": [
            {"voice": "voice.wav", "region": [0.0, 0.0, 0.5, 1.0]},
            {"voice": "song.flac", "tag": "dog"},
        ],
    },
}


def test_these_are_all_tasks_of_pocket():
    assert set(TASKS) == set(POCKET.tasks)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_a_clip_and_its_recipe_the_same_bits(reel, task):
    request = asked(**TASKS[task])
    assert request.task == task
    one = reel(request, media=MEDIA)
    stored = Request.parse(Recipe.from_metadata(one.metadata).request)
    two = reel(stored, media=MEDIA)
    assert stored.task == task
    assert (one.frames is not None, one.audio is not None) == (request.with_video, request.with_audio)
    for name in ("frames", "audio"):
        if getattr(one, name) is not None:
            assert np.array_equal(getattr(one, name), getattr(two, name))
    if one.frames is not None and one.audio is not None:
        assert one.audio.shape[1] / one.sample_rate == pytest.approx(len(one.frames) / one.fps, abs=1e-3)


# -- what is kept is kept exactly -------------------------------------------------------------------------------------


def test_key_frames_are_exact(reel):
    made = reel(asked(keyframes=[{"path": "cat.png", "at": "last"}, {"path": "dog.png", "at": "first"}]), media=MEDIA)
    assert np.array_equal(made.frames[-1], MEDIA["cat.png"].frames[0])
    assert made.frames.shape == (16, 64, 64, 3)
    assert not np.array_equal(made.frames[8], made.frames[-1])


def test_a_picture_decides_the_aspect_unless_the_user_does(reel):
    tall, wide = ({"keyframes": [{"path": "dog.png"}], **chosen} for chosen in ({}, {"aspect": "16:9"}))
    assert reel(asked(**tall), media=MEDIA).frames.shape[1:3] == (114, 64)
    assert reel(asked(**wide), media=MEDIA).frames.shape[1:3] == (64, 114)
    assert reel(asked(video="large.mp4", use="sound"), media=MEDIA).frames.shape[1:3] == (90, 160)
    assert reel(asked(video="large.mp4", use="edit"), media=MEDIA).frames.shape == (20, 64, 114, 3)


@pytest.mark.parametrize("sound", ["film.mp4", "silent.mp4"])
def test_outside_of_the_mask_every_bit_is_the_sources(reel, sound):
    source, mask = MEDIA[sound], np.random.default_rng(0).random((17, 64, 64)) < 0.3
    white = Clip(np.repeat(mask[..., None], 3, axis=3).astype(np.uint8) * 255, source.fps)
    request = asked(video=sound, use="edit", masks=[{"path": "mask"}])
    made = reel(request, media=MEDIA | {"mask": white})
    assert np.array_equal(made.frames[~mask], source.frames[~mask])
    assert (made.frames[mask] != source.frames[mask]).any(axis=-1).mean() > 0.95
    assert made.frames.shape == source.frames.shape and made.audio is not None


def test_another_size_and_rate_is_the_resampled_source_outside_of_the_mask(reel):
    made = reel(asked(video="large.mp4", use="edit", masks=[BOX]), media=MEDIA)
    still = reel(asked(video="large.mp4", use="edit", masks=[BOX], seed=5, prompt="something else"), media=MEDIA)
    assert made.frames.shape == (20, 64, 114, 3)
    same = (made.frames == still.frames).all(axis=(0, 3))
    assert same[:15].all() and same[:, :27].all() and not same[20:40, 35:80].any()
    assert made.frames[:, :15].std() > 20


def test_a_retake_changes_its_span_alone(reel):
    source = MEDIA["film.mp4"]
    made = reel(asked(video="film.mp4", use="edit", span=[0.25, 0.75]), media=MEDIA)
    outside = np.r_[0:4, 12:17]
    assert np.array_equal(made.frames[outside], source.frames[outside])
    assert (made.frames[4:12] != source.frames[4:12]).any(axis=(1, 2, 3)).all()
    quiet, loud = slice(0, 4_000), slice(12_000, 17_000)
    for part in (quiet, loud):
        assert np.array_equal(made.audio[:, part], source.audio[:, part])
    assert not np.allclose(made.audio[:, 4_500:11_500], source.audio[:, 4_500:11_500])


def test_a_retake_does_not_hear_what_it_replaces(reel):
    """Two sources that differ in the span alone are retaken alike; only where it begins and ends they are crossed."""
    one = MEDIA["film.mp4"]
    frames, audio = one.frames.copy(), one.audio.copy()
    frames[4:12], audio[:, 4_000:12_000] = 0, 0
    request = asked(video="film.mp4", use="edit", span=[0.25, 0.75])
    made = [reel(request, media={"film.mp4": clip}) for clip in (one, replace(one, frames=frames, audio=audio))]
    inside = slice(4_000 + 320, 12_000 - 320)
    assert np.array_equal(made[0].frames, made[1].frames)
    assert np.array_equal(made[0].audio[:, inside], made[1].audio[:, inside])


@pytest.mark.parametrize("span", [None, [0.25, 0.75]])
def test_the_sound_of_an_edit_is_kept_where_that_is_asked(reel, span):
    source = MEDIA["film.mp4"]
    fields = {"video": "film.mp4", "use": "edit"} | ({} if span is None else {"span": span})
    assert np.array_equal(reel(asked(**fields, keep_audio=True), media=MEDIA).audio, source.audio)
    assert not np.array_equal(reel(asked(**fields), media=MEDIA).audio, source.audio)


@pytest.mark.parametrize("name", ["voice.wav", "song.flac"])
def test_a_given_sound_comes_out_bit_for_bit_and_the_picture_follows_it(reel, name):
    made, other = (reel(asked(audio=name, seed=1), media=MEDIA | changed) for changed in ({}, {name: tone(77)}))
    sound = MEDIA[name]
    assert made.sample_rate == sound.sample_rate and np.array_equal(made.audio, sound.audio)
    assert len(made.frames) == round(sound.duration * 16)
    assert not np.array_equal(made.frames[:16], other.frames[:16])
    assert reel(asked(audio=name, modality="video"), media=MEDIA).audio is None


def test_a_soundtrack_leaves_the_film_as_it_is(reel):
    for name in ("silent.mp4", "large.mp4"):
        made, source = reel(asked(video=name, use="sound"), media=MEDIA), MEDIA[name]
        assert np.array_equal(made.frames, source.frames) and made.fps == source.fps
        assert made.audio.shape[1] == round(source.duration * RATE)
    other = reel(asked(video="film.mp4", use="sound"), media=MEDIA)
    alone = reel(asked(video="film.mp4", use="sound", modality="audio"), media=MEDIA)
    assert alone.frames is None and np.array_equal(alone.audio, other.audio)
    silent = reel(asked(video="silent.mp4", use="sound"), media=MEDIA)
    assert not np.array_equal(silent.audio, other.audio)  # it follows what is seen


# -- a video goes on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "seconds"), [("short.mp4", 1.25), ("film.mp4", 0.25), ("film.mp4", 5.0)])
def test_an_extension_is_the_source_and_then_exactly_as_much_as_asked(reel, name, seconds):
    source, counted = MEDIA[name], []
    made = reel(asked(video=name, duration=seconds), lambda step, steps: counted.append((step, steps)), media=MEDIA)
    count, samples = len(source.frames), source.audio.shape[1]
    assert len(made.frames) == count + round(seconds * 16) and made.audio.shape[1] == samples + seconds * RATE
    assert np.array_equal(made.frames[:count], source.frames)
    assert np.array_equal(made.audio[:, : samples - 320], source.audio[:, : samples - 320])
    assert made.audio[:, samples:].std() > 0 and made.frames[count:].std() > 0
    assert [step for step, _ in counted] == list(range(1, counted[-1][1] + 1))


def test_an_extension_follows_the_end_of_its_source(reel):
    """Its first frames are forgotten, its last are not; its sound is heard."""
    source = MEDIA["film.mp4"]
    request = asked(video="film.mp4", duration=1.25)

    def made(frame: int | None = None, quiet: bool = False) -> Clip:
        frames = source.frames.copy()
        if frame is not None:
            frames[frame] = 0
        audio = source.audio * (0 if quiet else 1)
        return reel(request, media={"film.mp4": replace(source, frames=frames, audio=audio)})

    plain = made().frames[17:]
    assert np.array_equal(plain, made(0).frames[17:])
    assert not np.array_equal(plain, made(16).frames[17:])
    assert not np.array_equal(plain, made(quiet=True).frames[17:])


def test_a_silent_video_stays_silent_in_its_part(reel):
    made = reel(asked(video="silent.mp4"), media=MEDIA)
    assert not made.audio[:, : 17_000 - 320].any() and made.audio[:, 17_000:].any()
    assert reel(asked(video="silent.mp4", modality="video"), media=MEDIA).audio is None


# -- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cat.png", "dog.png", "film.mp4", "voice.wav"])
def test_references_change_the_clip_and_not_its_shape(reel, path):
    plain, seen = reel(asked(), media=MEDIA), reel(asked(references=[{"tag": "a", "path": path}]), media=MEDIA)
    assert plain.frames.shape == seen.frames.shape and plain.audio.shape == seen.audio.shape
    assert not np.array_equal(plain.frames, seen.frames) and not np.array_equal(plain.audio, seen.audio)


def test_users_tags_are_the_models(reel):
    """The prompt that the model reads has its own tags, by kind and order."""
    named = asked(references=[CAT, MOVES, DOG], prompt="@dog dances like @moves with @cat")
    usual = asked(
        references=[{"tag": tag, "path": each["path"]} for tag, each in
                    zip(("image_1", "video_1", "image_2"), (CAT, MOVES, DOG), strict=True)],
        prompt="@image_2 dances like @video_1 with @image_1",
    )  # fmt: skip
    assert np.array_equal(*(reel(request, media=MEDIA).frames for request in (named, usual)))


def test_an_edit_sees_all_of_its_source(reel):
    plain = reel(asked(video="film.mp4", use="edit"), media=MEDIA)
    other = reel(asked(video="film.mp4", use="edit"), media=MEDIA | {"film.mp4": clip(99)})
    assert plain.frames.shape == other.frames.shape and not np.array_equal(plain.frames, other.frames)
    assert reel(asked(video="film.mp4", use="edit", prompt="@video_1 at night"), media=MEDIA) is not None


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_many_tasks_is_its_single_clips_up_to_rounding(reel, monkeypatch):
    requests = [asked(**TASKS[task]) for task in ("t2av", "i2v", "edit", "inpaint", "r2v", "a2v-drive", "v2a", "t2av")]
    requests += [asked(video="film.mp4", use="edit", masks=[BOX], seed=4), asked(**TASKS["v2v"], seed=9)]
    requests += [asked(video="short.mp4", duration=3.0)]
    runs, run = [], reel._run
    monkeypatch.setattr(reel, "_run", lambda *a: runs.append(len(a[2])) or run(*a))
    batch = reel.generate_batch(requests, media=MEDIA)
    # Clips of words alone run together, and masked ones. The long extension takes three windows.
    assert sorted(runs) == [1] * 9 + [2, 2]
    for one, request in zip(batch, requests, strict=True):
        alone = reel(request, media=MEDIA)
        for name in ("frames", "audio"):
            mine, its = getattr(one, name), getattr(alone, name)
            assert (mine is None) == (its is None)
            if mine is not None:
                np.testing.assert_allclose(mine.astype(float), its.astype(float), atol=1 if name == "frames" else 2e-3)


# -- what cannot be ---------------------------------------------------------------------------------------------------

EDIT = {"video": "film.mp4", "use": "edit"}
MISTAKES = {
    "too long": ({"video": "long.mp4", "use": "edit"}, "video lasts 5 s; accepted are 1 to 4 s"),
    "too long a sound": ({"audio": "speech.wav"}, "the sound lasts 9 s; accepted are 1 to 4 s"),
    "too long a reference": (
        {"references": [{"tag": "a", "path": "long.mp4"}]},
        "@a lasts 5 s; accepted are up to 4 s",
    ),
    "a span outside": (
        EDIT | {"span": [0.5, 3.0]},
        "span must lie within the video, which lasts 1.062 s, not 0.5 to 3",
    ),
    "all of it": (EDIT | {"span": [0.0, 1.0625]}, "span is the whole video"),
    "no such mask": (EDIT | {"masks": [{"path": "cat.png"}]}, "cat.png is no mask"),
    "no sound to keep": ({"video": "silent.mp4", "use": "edit", "keep_audio": True}, "must have sound"),
    "silence as a sound": ({"audio": "cat.png"}, "audio must have sound, and cat.png has none"),
    "a sound as a video": ({"video": "voice.wav"}, "video must be a picture or a clip"),
    "a picture as a video": ({"video": "cat.png"}, "video must be a clip, and cat.png is a single picture"),
    "a sound as a key frame": ({"keyframes": [{"path": "voice.wav"}]}, "keyframe 1 must be a picture or a clip"),
    "a late key frame": (
        {"keyframes": [{"path": "cat.png", "at": 3.0}]},
        "a key frame is at 3 s, and the clip lasts 1 s",
    ),
    "an unknown tag": ({"prompt": "a @dgo", "references": [DOG]}, "@dgo is no reference, did you mean @dog"),
    "no references": ({"prompt": "a @dog"}, "@dog is no reference; given are none"),
    "something seen": ({"modality": "audio", "references": [CAT]}, "references of a sound must be sounds, and @cat is"),
    "too long an extension": ({"video": "film.mp4", "duration": 31.0}, "durations of 0.25 to 30 s, not 31 s"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_before_anything_is_sampled(reel, monkeypatch, name):
    fields, sentence = MISTAKES[name]
    monkeypatch.setattr(reel, "_run", lambda *_: pytest.fail("sampled"))
    with pytest.raises(ValueError) as caught:
        reel.generate_batch([asked(), asked(**fields)], media=MEDIA | {"speech.wav": tone(0, 9.0)})
    assert isinstance(caught.value, RequestError | MediaError)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_files_are_read_where_no_clip_stands_for_them(reel, tmp_path):
    path = str(MEDIA["cat.png"].save(tmp_path / "cat.png"))
    made = reel(asked(keyframes=[{"path": path}]))
    assert np.array_equal(made.frames[0], MEDIA["cat.png"].frames[0])
    with pytest.raises(MediaError, match=r"nothing\.png"):
        reel(asked(keyframes=[{"path": "nothing.png"}]))
