"""What every task gives the model: the window of a request, looked at before anything is made of it."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from openreels.media import Clip
from openreels.pipelines.registry import POCKET
from openreels.request import Request, RequestError
from openreels.tasks.making import making
from openreels.tasks.window import Model, Window

MODEL = Model(POCKET, side=16, group=4, channels=1)


def frames(count: int, seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def sound(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (1, samples)).astype(np.float32)


MEDIA = {
    "cat.png": Clip(frames(1, 1), Fraction(1)),
    "crowd.png": Clip(frames(1, 2, 40, 80), Fraction(1)),
    "film.mp4": Clip(frames(33, 3), Fraction(16), sound(33_000), 16_000),
    "moves.mp4": Clip(frames(17, 4), Fraction(16)),
    "low.wav": Clip(audio=sound(8_000, 5), sample_rate=16_000),
    "high.wav": Clip(audio=sound(12_000, 6), sample_rate=16_000),
}
CAT, MOVES = {"tag": "cat", "path": "cat.png"}, {"tag": "moves", "path": "moves.mp4"}
LOW = {"tag": "low", "path": "low.wav"}


def window(media: dict | None = None, **fields) -> Window:
    request = Request.parse({"prompt": "a ball"} | fields).filled(POCKET)
    return next(making(request, MODEL, (MEDIA | (media or {})).__getitem__))


def pixels(name: str) -> torch.Tensor:
    return torch.from_numpy(MEDIA[name].frames)


def test_nothing_is_given_with_words_alone():
    plain = window()
    assert plain.prompt == "a ball" and plain.frames == 32 and plain.video and plain.audio
    assert plain.given.signature == (None, None, None, None, (), ())


def test_the_source_of_an_edit_is_the_last_reference():
    """So its latent frames stand at the same distance from those of the result whatever else is given."""
    edit = window(
        video="film.mp4", use="edit", references=[MOVES, CAT, LOW], prompt="@cat moves like @moves in @video_1"
    )
    assert edit.prompt == "@image_1 moves like @video_2 in @video_1"
    assert [len(clip) for clip in edit.given.pictures] == [17, 1, 33]
    assert torch.equal(edit.given.pictures[-1], pixels("film.mp4")) and edit.given.keep_THW is None
    assert len(edit.given.sounds) == 1 and set(edit.media) == {"image_1", "video_1", "video_2"}


def test_a_masked_edit_is_given_the_rest_and_not_what_is_hidden():
    box = {"box": [0.0, 0.0, 0.5, 1.0]}
    edit = window(video="film.mp4", use="edit", masks=[box], references=[CAT], prompt="@cat")
    assert [len(clip) for clip in edit.given.pictures] == [1] and edit.given.sounds == ()
    assert not edit.given.keep_THW[:, :, :32].any() and edit.given.keep_THW[:, :, 32:].all()
    assert torch.equal(edit.given.frames_THWC, pixels("film.mp4"))
    inverted = window(video="film.mp4", use="edit", masks=[box | {"invert": True}])
    assert torch.equal(inverted.given.keep_THW, ~edit.given.keep_THW)


def test_two_masks_are_one_region_and_a_span_limits_it():
    masks = [{"box": [0.0, 0.0, 0.25, 1.0]}, {"polygon": [[0.5, 0.0], [1.0, 0.0], [1.0, 0.5], [0.5, 0.5]]}]
    keep = window(video="film.mp4", use="edit", masks=masks, span=[0.5, 1.0]).given.keep_THW
    assert keep[:8].all() and keep[16:].all()
    assert (~keep[8:16]).float().mean().item() == pytest.approx(0.25 + 0.25)


def test_a_retake_hears_its_sound_without_the_span():
    retake = window(video="film.mp4", use="edit", span=[0.5, 1.0])
    keep_T = retake.given.keep_THW.flatten(1).all(1)
    assert (~keep_T).nonzero()[:, 0].tolist() == list(range(8, 16))
    (heard,) = retake.given.sounds
    expected = MEDIA["film.mp4"].audio[0].copy()
    expected[8_000:16_000] = 0
    assert np.array_equal(heard, expected)


def test_an_extension_is_given_whole_latent_frames_and_the_sound_before_its_end():
    goes_on = window(video="film.mp4", duration=1.25)
    assert (goes_on.frames, goes_on.parts) == (33, 1)
    keep_T = goes_on.given.keep_THW.flatten(1).all(1)
    assert keep_T.sum() == 13 and keep_T[:13].all()
    assert torch.equal(goes_on.given.frames_THWC[:13], pixels("film.mp4")[-13:])
    assert np.array_equal(goes_on.given.sounds[0], MEDIA["film.mp4"].audio[0, -12_000:])
    assert window(video="film.mp4", duration=30.0).parts == 24


@pytest.mark.parametrize(("transition", "prompt"), [("cut-in", "Then the camera cuts in. a ball"), ("none", "a ball")])
def test_a_cut_is_told(transition, prompt):
    assert window(video="film.mp4", transition=transition).prompt == prompt


def test_a_driven_picture_is_given_the_whole_sound():
    driven = window(audio="high.wav", duration=2.0)
    assert driven.audio and driven.given.sound_S.shape == (33_000,) and driven.frames == 32
    assert np.array_equal(driven.given.sound_S[:12_000], MEDIA["high.wav"].audio[0])
    assert not driven.given.sound_S[12_000:].any()
    assert window(audio="high.wav", duration=2.0, modality="video").audio


def test_a_soundtrack_is_given_the_whole_picture():
    scored = window(video="film.mp4", use="sound")
    assert torch.equal(scored.given.picture_THWC, pixels("film.mp4")) and scored.video and scored.audio
    assert scored.given.sounds == ()


LEFT, RIGHT = {"region": [0.0, 0.0, 0.5, 1.0]}, {"region": [0.4, 0.0, 1.0, 1.0]}


def test_speakers_are_bound_to_their_faces_and_voices():
    """One by a tag, the others by where they stand; all by the voice, in their order."""
    speakers = [{"voice": "high.wav"} | RIGHT, {"voice": "low.wav", "tag": "cat"}, {"voice": "low.wav"} | LEFT]
    portrait = window(image="crowd.png", speakers=speakers, references=[CAT], prompt="@cat waves")
    assert portrait.prompt == (
        "@image_1 waves. The face on the right speaks in the voice of @Audio-0. @image_1 speaks in the voice of "
        "@Audio-1. The face on the left speaks in the voice of @Audio-2."
    )
    assert [len(each) for each in portrait.given.sounds] == [12_000, 8_000, 8_000]
    assert len(portrait.given.pictures) == 1 and set(portrait.media) == {"image_1", "Audio-0", "Audio-1", "Audio-2"}
    assert portrait.given.keep_THW[0].all() and not portrait.given.keep_THW[1:].any()
    alone = window(image="crowd.png", speakers=[{"voice": "low.wav"}], prompt="一张脸")
    assert alone.prompt == "一张脸。 用@Audio-0的声音说话。"


def test_a_mask_binds_like_a_box():
    mask = np.zeros((1, 40, 80, 3), np.uint8)
    mask[:, 10:20, 50:60] = 255
    media = {"mask.png": Clip(mask, Fraction(1)), "black.png": Clip(mask * 0, Fraction(1))}

    def told(*places: dict) -> str:
        return window(media, image="crowd.png", speakers=[{"voice": "low.wav"} | place for place in places]).prompt

    assert told({"mask": "mask.png"}) == told(RIGHT) and told({"mask": "mask.png"}, LEFT) == told(RIGHT, LEFT)
    with pytest.raises(RequestError, match=r"the mask cat\.png is 64 x 64 pixels; the portrait has 80 x 40"):
        told({"mask": "cat.png"})
    with pytest.raises(RequestError, match=r"the mask black\.png is empty"):
        told({"mask": "black.png"})
    with pytest.raises(RequestError, match="must stand beside each other"):
        told(LEFT, LEFT)


def test_what_speakers_say_is_one_sound_and_each_is_a_reference():
    said = [{"audio": "low.wav"} | LEFT, {"audio": "high.wav"} | RIGHT]
    both = window(image="crowd.png", speakers=said, duration=1.0)
    mixed = MEDIA["high.wav"].audio[0].copy()
    mixed[:8_000] += MEDIA["low.wav"].audio[0]
    np.testing.assert_allclose(both.given.sound_S[:12_000], mixed, atol=1e-6)
    assert [len(each) for each in both.given.sounds] == [8_000, 12_000] and both.given.pictures == ()
    alone = window(image="crowd.png", speakers=said[:1], duration=1.0)
    assert alone.given.sounds == alone.given.pictures == () and alone.prompt == "a ball"


def test_key_frames_are_kept_where_they_stand():
    kept = window(keyframes=[{"path": "cat.png", "at": 0.5}, {"path": "film.mp4", "at": "last"}]).given
    keep_T = kept.keep_THW.flatten(1).all(1)
    assert keep_T.nonzero()[:, 0].tolist() == [8, 31, 32]  # the last repeats what the result ends with
    assert torch.equal(kept.frames_THWC[8], pixels("cat.png")[0])
    assert torch.equal(kept.frames_THWC[31], pixels("film.mp4")[0])


def test_which_sounds_are_wanted_is_told():
    assert window(sounds=["speech"]).prompt == "a ball. Only the speech is heard."
