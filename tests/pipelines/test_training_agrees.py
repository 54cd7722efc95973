"""What a request of a case gives the model is what training gives it for that case, bit for bit."""

import pytest
import torch

from openreels.evaluation.tasks.cases import request_of
from openreels.pipelines.reel import told_once
from openreels.pipelines.registry import POCKET
from openreels.tasks.making import making
from openreels.tasks.window import Model
from openreels.training.cases import given_of
from openreels.world.examples import ROWS, sample_example, show

pytestmark = pytest.mark.usefixtures("one_thread")
SEEN = (
    *("first-frame", "last-frame", "key-frames", "extension", "extension-shot-reverse-shot", "retake"),
    *("references-3", "storyboard", "motion-reference", "effect-reference", "inpaint-moving", "inpaint-two-references"),
    *("accessory", "sound-to-impacts", "video-to-sound", "speakers"),
)


@pytest.mark.parametrize("row", SEEN)
def test_training_and_sampling_give_the_same(row):
    example = sample_example(row, 0, duration=33 / 16)
    shown = show(example, frames=1 if ROWS[row].still else 33, height=64, width=64)
    request, media = request_of(example, shown)
    read = media.__getitem__
    window = next(making(told_once(request.filled(POCKET)), Model(POCKET, 16, 4, 1), read))
    trained, sampled = given_of(example, shown), window.given
    assert window.prompt == example.prompt
    assert (trained.keep_THW is None) == (sampled.keep_THW is None)
    if trained.keep_THW is not None:
        keep = trained.keep_THW
        assert torch.equal(keep, sampled.keep_THW)
        assert torch.equal(trained.frames_THWC[keep], sampled.frames_THWC[keep])
    for one, two in ((trained.pictures, sampled.pictures), (trained.sounds, sampled.sounds)):
        assert len(one) == len(two) and all(torch.equal(*each) for each in zip(one, two, strict=True))
    assert (sampled.sound_S is not None) == (example.given == "sound")
    assert (sampled.picture_THWC is not None) == (example.given == "picture")
    if example.given == "sound":
        assert torch.equal(sampled.sound_S, shown.audio)
    if example.given == "picture":
        assert torch.equal(sampled.picture_THWC, shown.frames)
