"""Pretraining of the text encoder: the facts of a scene, in whichever order its subjects are named."""

import pytest
import torch
from torch.testing import assert_close

from openreels.encoders.text import new_text_encoder, train_tokenizer
from openreels.training.loop import LoopConfig, run
from openreels.training.text_encoder import (
    SHARED_SLOTS,
    SLOTS,
    SUBJECT_SLOTS,
    TextEncoderTask,
    scene_attributes,
    slot_losses,
)
from openreels.world import random_caption, sample_scene

pytestmark = pytest.mark.usefixtures("one_thread")
OWN = len(SUBJECT_SLOTS)


def test_every_scene_has_a_class_in_every_slot():
    scenes = [sample_scene(seed, duration=2.0) for seed in range(300)]
    classes = torch.tensor([scene_attributes(scene) for scene in scenes])
    assert classes.shape == (300, len(SLOTS)) and (classes >= 0).all()
    assert (classes < torch.tensor([len(values) for values in SLOTS.values()])).all()
    for slot, name in enumerate(SLOTS):
        # A talking face always stands first in the list of a scene's subjects.
        assert len(classes[:, slot].unique()) > 1 or name == "second voice", name
    alone = torch.tensor([len(scene.subjects) == 1 for scene in scenes])
    assert not classes[alone, SHARED_SLOTS + OWN :].any() and classes[~alone, SHARED_SLOTS + OWN + 1].all()


def test_the_order_of_the_subjects_does_not_matter():
    pairs = [scene for scene in (sample_scene(seed, duration=2.0) for seed in range(60)) if len(scene.subjects) == 2]
    target = torch.tensor([scene_attributes(scene) for scene in pairs])
    shared, first, second = target.split([SHARED_SLOTS, OWN, OWN], dim=1)
    swapped = torch.cat([shared, second, first], dim=1)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(pairs), len(values), generator=generator) for values in SLOTS.values()]
    assert_close(slot_losses(logits, target)[0].sum(1), slot_losses(logits, swapped)[0].sum(1))
    sure = [10.0 * torch.nn.functional.one_hot(t, len(v)) for t, v in zip(swapped.T, SLOTS.values(), strict=True)]
    assert slot_losses(sure, target)[1].all()
    half = [10.0 * torch.nn.functional.one_hot(t, len(v)) for t, v in zip(torch.cat([shared, second, second], 1).T,
            SLOTS.values(), strict=True)]  # fmt: skip
    assert not slot_losses(half, target)[1].all()


def test_a_few_steps_reduce_the_loss(tmp_path):
    captions = [random_caption(sample_scene(seed, duration=2.0), seed) for seed in range(150)]
    torch.manual_seed(0)
    encoder = new_text_encoder(train_tokenizer(captions, 400), width=32, layers=1, heads=2)
    task = TextEncoderTask(encoder, batch=16)
    first = task.loss((0, torch.Generator().manual_seed(0)))[0].item()
    assert run(task, LoopConfig(tmp_path, steps=30, log_every=5, on_log=lambda line: None))["loss"] < 0.8 * first
