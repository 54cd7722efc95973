"""The truth agrees with what is rendered."""

import json

import numpy as np
import pytest

from openreels.world import contacts, keep_freed_memory, masks, truth


def test_truth_agrees_with_masks(drawn):
    found = masks(drawn, fps=16, frames=17, height=64, width=64)
    for row, scene in enumerate(drawn):
        facts = truth(scene, fps=16, frames=17)
        assert facts.count == len(scene.subjects)
        for slot, subject in enumerate(facts.subjects):
            for frame in (0, 8, 16):
                x, y = int(subject.x[frame] * 64), int(subject.y[frame] * 64)
                near = found[row, slot, frame, max(y - 14, 0) : y + 14, max(x - 14, 0) : x + 14]
                assert near.any()


def test_truth_is_plain_data(drawn):
    for scene in drawn:
        facts = truth(scene, fps=16, frames=17)
        json.dumps(facts.to_dict())
        assert [c.time for c in facts.contacts] == [c.time for c in contacts(scene)]
        talking = [s for s in facts.subjects if s.motion == "talk"]
        assert all(len(s.mouth) == 17 and s.voice in ("low", "high") for s in talking)
        assert (max(facts.voice) > 0.3) == bool(talking)
        assert facts.melody == (scene.melody.mood if scene.melody else None)


def test_truth_of_a_later_window(drawn):
    for scene in drawn[:20]:
        whole, late = truth(scene, fps=16, frames=17), truth(scene, fps=16, frames=9, start=0.5)
        for a, b in zip(whole.subjects, late.subjects, strict=True):
            assert np.array(a.x[8:]) == pytest.approx(b.x)
            assert a.mouth[8:] == b.mouth
        assert len(late.contacts) <= len(whole.contacts)
        assert all(0 <= contact.time < 9 / 16 for contact in late.contacts)


def test_the_allocator_setting_is_callable():
    assert keep_freed_memory() in (True, False)
