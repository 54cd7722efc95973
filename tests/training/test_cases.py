"""Cases of the task table as latents: what is given in training is what a request would have given."""

import pytest
import torch
from torch.testing import assert_close

from openreels.tasks.given import states
from openreels.training.cases import encoded, given_of
from openreels.training.latents import Bucket, LatentSet, example_of
from openreels.training.plan import load_components
from openreels.world.examples import show

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = {"frames": 17, "height": 64, "width": 64}


@pytest.fixture(scope="module")
def codecs(parts):
    return load_components(parts)[0]


@pytest.fixture(scope="module")
def shown():
    def of(row: str, seed: int = 0):
        example = example_of(Bucket(17, row=row), seed)
        return example, show(example, **SIZE)

    return of


def test_an_edit_sees_its_source_last_and_keeps_nothing(shown):
    example, media = shown("recolour")
    given = given_of(example, media)
    assert given.frames_THWC is None and not given.sounds
    assert torch.equal(given.pictures[-1], media.source_frames)
    assert not torch.equal(media.source_frames, media.frames)


def test_inpainting_is_given_what_lies_outside_of_its_region(shown):
    example, media = shown("inpaint-moving")
    given = given_of(example, media)
    assert torch.equal(given.keep_THW, ~media.regenerate) and not given.pictures
    assert torch.equal(given.frames_THWC[given.keep_THW], media.source_frames[given.keep_THW])


def test_an_extension_has_seen_and_heard_what_came_before(shown):
    example, media = shown("extension")
    given = given_of(example, media)
    frames = round(example.kept[0][1] * 16)
    assert given.keep_THW[:frames].all() and not given.keep_THW[frames:].any()
    (sound,) = given.sounds
    end = frames * media.sample_rate // 16
    assert sound.shape == (12_000,) and torch.equal(sound, media.audio[end - 12_000 : end])


def test_a_retake_does_not_hear_what_is_made_anew(shown):
    example, media = shown("retake")
    (sound,) = given_of(example, media).sounds
    (_, start), (end, _) = ((round(second * media.sample_rate) for second in span) for span in example.kept)
    assert not sound[start:end].any() and torch.equal(sound[:start], media.audio[:start])


@pytest.mark.parametrize("row", ["first-frame", "references-2", "recolour", "extension", "inpaint-reference"])
def test_training_and_sampling_build_the_same_states(row, codecs, tmp_path):
    """A blank state from the stored latents is the one that `tasks` makes of the case; bfloat16 is what is kept."""
    bucket = Bucket(17, row=row)
    data = LatentSet(tmp_path, ["cases"], bucket, 1, codecs, seed=0)
    index = torch.tensor([1, 0])
    examples = [data.example(int(i)) for i in index]
    given = [given_of(example, show(example, **SIZE)) for example in examples]
    wanted = states(given, codecs.video, codecs.audio, data.video_shape, data.audio_shape)
    for stream, state in zip(("video", "audio"), wanted, strict=True):
        blank = data.blank(stream, index)
        for name in ("given_BNC", "mask_BN1", "reference_BRC", "reference_positions_RP", "positions_NP"):
            assert_close(getattr(blank, name), getattr(state, name), atol=0.05, rtol=0.05, msg=f"{stream} {name}")


def test_references_can_be_left_out(codecs, tmp_path):
    data = LatentSet(tmp_path, ["cases"], Bucket(17, row="inpaint-reference"), 1, codecs, seed=0)
    index = torch.tensor([0, 1])
    with_them, without = data.blank("video", index), data.blank("video", index, references=False)
    assert with_them.references and not without.references
    assert torch.equal(with_them.given_BNC, without.given_BNC)


@pytest.mark.parametrize(
    ("row", "whole"), [("sound-to-impacts", "audio"), ("video-to-sound", "video"), ("night", None)]
)
def test_a_set_knows_what_is_given_whole(row, whole, codecs, tmp_path):
    assert LatentSet(tmp_path, ["cases"], Bucket(17, row=row), 1, codecs, seed=0).whole == whole


def test_rows_without_a_picture_have_none(codecs, shown):
    bucket = Bucket(17, row="t2a-music")
    example, media = shown("t2a-music")
    tensors = encoded(
        [example], [media], codecs.video, codecs.audio, codecs.video_shape(bucket), codecs.audio_shape(bucket)
    )
    assert set(tensors) == {"audio"} and bucket.streams == ("audio",)
