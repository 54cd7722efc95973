"""Training of the cut classifier: the same examples and the same weights every time, and something is learned."""

import numpy as np
import pytest
import torch

pytest.importorskip("scenedetect", reason="the extra `shots` is not installed")

from openreels.shots.classifier import CutClassifier
from openreels.training.shots import examples, fit
from openreels.world import sample_film


@pytest.fixture(scope="module")
def few():
    return examples(range(6))


def test_examples_are_all_cuts_and_some_moments_without(few):
    features_NF, labels_N = few
    again = examples(range(6))
    assert np.array_equal(features_NF, again[0]) and np.array_equal(labels_N, again[1])
    kinds = [CutClassifier.kinds[label] for label in labels_N]
    assert sum(kind != "single-shot" for kind in kinds) == sum(len(sample_film(seed).cuts) for seed in range(6))
    assert 6 <= kinds.count("single-shot") <= 12


def test_training_is_repeatable_and_learns(few):
    features_NF, labels_N = few
    state = torch.get_rng_state()
    first, second = (fit(*few, steps=60) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's randomness is touched
    for name, tensor in first.state_dict().items():
        assert tensor.equal(second.state_dict()[name])
    probabilities_BK = first.probabilities(torch.from_numpy(features_NF))
    assert (probabilities_BK.argmax(1).numpy() == labels_N).mean() > 0.9
