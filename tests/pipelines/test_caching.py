"""Step caching on a tiny transformer: what is skipped, what comes out, what is left behind."""

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.guidance import Guidance
from openreels.flow.sampling import sample
from openreels.flow.schedule import Schedule
from openreels.pipelines.caching import step_cache

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 24


@pytest.fixture
def make(tiny, shaken):
    """Latents of a sampling, and how often the layers of the transformer ran."""
    calls = []
    handle = shaken.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))

    def run(video: bool = True, audio: bool = True):
        calls.clear()
        states = tiny.video() if video else None, tiny.audio() if audio else None
        made = sample(shaken, *states, tiny.context(), tiny.context(seed=9), Schedule(STEPS), Guidance(1.0, 1.0))
        return [None if state is None else state.noisy_BNC for state in made], len(calls)

    yield run
    handle.remove()


@pytest.mark.parametrize("streams", [(True, True), (True, False), (False, True)])
def test_fewer_steps_are_computed_and_the_result_stays_near(make, shaken, streams):
    whole, every = make(*streams)
    with step_cache(shaken, 3):
        near, some = make(*streams)
    assert every == STEPS and some < STEPS * 0.7
    for exact, guessed in zip(whole, near, strict=True):
        if exact is not None:
            assert 0 < (guessed - exact).abs().mean() < 0.3 * exact.std()
    again, calls = make(*streams)
    assert calls == STEPS  # nothing is left of it
    for first, second in zip(whole, again, strict=True):
        assert first is second is None or torch.equal(first, second)


def test_an_interval_of_one_changes_nothing(make, shaken):
    whole, _ = make()
    with step_cache(shaken, 1):
        same, calls = make()
    assert calls == STEPS
    assert_close(same, whole, atol=0, rtol=0)


@pytest.mark.parametrize("options", [{"interval": 0}, {"interval": 2, "order": -1}, {"interval": 2, "warm_up": 1}])
def test_what_makes_no_sense_is_refused(shaken, options):
    with pytest.raises(ValueError, match="a step cache needs"), step_cache(shaken, **options):
        pass


def test_a_given_stream_stays_as_it_is(tiny, shaken):
    """Its velocity is extrapolated like the other one's, and never used."""
    clean = tiny.audio(time=1.0)
    with step_cache(shaken, 3):
        video, audio = sample(
            shaken, tiny.video(time=0.0), clean, tiny.context(), tiny.context(), Schedule(9), Guidance(1.0, 1.0)
        )
    assert torch.equal(audio.noisy_BNC, clean.noisy_BNC) and video.noisy_BNC.isfinite().all()
