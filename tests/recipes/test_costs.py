"""Plans of the V4 presets: counted on the real classes, compared with runs of whole small models and known numbers."""

from dataclasses import replace

import pytest
import torch

from openreels.hardware import GPUS, choose
from openreels.nn.metering import flops_of, parameters_of, peak_of
from openreels.recipes.costs import Costs, Size, costs_of
from openreels.recipes.presets import preset
from openreels.recipes.request_plan import Job, estimates
from openreels.recipes.training_plan import Training, phase_cost, phase_costs
from openreels.recipes.v4_phases import PHASES

SMALL = {"num_heads": 2, "rope_axis_dims": (4, 6, 6), "text_dim": 16, "num_dual_layers": 3, "num_single_layers": 2}


@pytest.fixture(scope="module")
def small() -> Costs:
    chosen = preset("mid")
    return Costs(replace(chosen, transformer={**chosen.transformer, **SMALL}))


@pytest.fixture(scope="module")
def full() -> Costs:
    return costs_of("full")


@pytest.mark.parametrize("name", ["full", "full-hv1", "mid", "pocket"])
def test_parameters_are_those_of_the_whole_model(name):
    """Added up from one or two layers of a kind; the whole has as many."""
    assert costs_of(name).total_parameters == parameters_of(preset(name).build("meta"))


@torch.no_grad()
@pytest.mark.parametrize("size", [Size((3, 2, 4), 10), Size((3, 2, 4)), Size(None, 10), Size((2, 2, 2), 5, (1, 2, 2))])
def test_flops_are_those_of_the_whole_model(small, size):
    model = small.preset.build("meta").to(torch.bfloat16)
    inputs = small._inputs(size, 2)
    assert small.forward_flops(size, 2) == flops_of(lambda: model(*inputs)) > 0


@torch.no_grad()
def test_activations_do_not_grow_with_depth(small):
    size = Size((5, 8, 8), 40)
    model, inputs = small.preset.build("meta").to(torch.bfloat16), small._inputs(size, 1)
    whole = peak_of(lambda: model(*inputs))
    assert small.forward_bytes(size) == pytest.approx(whole, rel=0.02)


def test_training_keeps_the_inputs_of_every_layer(small):
    """The arithmetic of checkpointing against a checkpointed step of the whole model."""
    size = Size((5, 8, 8), 40)
    model, inputs = small.preset.build("meta").to(torch.bfloat16), small._inputs(size, 1)
    model.enable_gradient_checkpointing()

    def step():
        sum(v.sum() for v in model(*inputs)).backward()
        model.zero_grad()

    def without_gradients(peak, counted):
        return peak - 2 * parameters_of(counted)

    whole = without_gradients(peak_of(step), model)
    assert without_gradients(small.training_bytes(size), small._one) == pytest.approx(whole, rel=0.1)


def test_the_paper_example_of_tokens(full):
    """5.0625 s at 16 fps: 21 latent frames and 218 audio tokens."""
    size = full.size(81, 480, 848)
    assert size.grid == (21, 30, 53) and size.audio == 218


def test_the_video_codec_from_three_sizes(small):
    counted = small._decoded((4, 3, 5))
    fitted = small.decoding((4, 3, 5), tiled=False)
    assert fitted.flops == pytest.approx(counted.flops, rel=1e-6)
    assert fitted.peak == pytest.approx(counted.peak, rel=0.05)


def test_more_memory_means_a_faster_placement(full):
    job = Job.of(full, "480p", 5.0, "16:9")
    picks = {name: choose(estimates(job, GPUS[name]), GPUS[name]) for name in ("4090", "H200")}
    assert picks["H200"].placement.where == "resident"
    assert picks["4090"] is None or picks["4090"].placement.where != "resident"


def test_adding_sound_costs_a_quarter_at_most(full):
    """At the paper's token counts, without references (DESIGN: 25 % of a video-only step)."""
    with_sound = full.size(81, 480, 848)
    ratio = full.forward_flops(with_sound) / full.forward_flops(replace(with_sound, audio=0))
    assert 1 < ratio < 1.25


def test_phases_follow_the_paper(small):
    found = {each.phase.name: each for each in phase_costs(small, Training(GPUS["H100"], 8))}
    assert [*found] == [phase.name for phase in PHASES]
    assert found["video-1"].samples == 9e9
    assert found["joint"].tokens > found["video-5"].tokens * 0.9
    for each in found.values():
        assert each.days > 0 and each.peak > 0
        assert each.memory["weights"] == 4 * small.total_parameters / 8  # the whole model, whatever is trained of it


def test_more_gpus_take_less_time_and_memory(small):
    phase = PHASES[-1]
    few, many = (phase_cost(small, Training(GPUS["H100"], n, price=1.0), phase) for n in (8, 64))
    assert few.days == pytest.approx(8 * many.days) and few.price == pytest.approx(many.price)
    assert many.memory["moments"] == pytest.approx(few.memory["moments"] / 8)
    shared = phase_cost(small, Training(GPUS["H100"], 8, context=4), phase)
    assert shared.memory["activations"] == pytest.approx(few.memory["activations"] / 4)


@pytest.mark.parametrize("wrong", [{"gpus": 0}, {"gpus": 6, "context": 4}, {"gpus": 8, "clips": 0}])
def test_groups_that_do_not_divide_are_refused(wrong):
    with pytest.raises(ValueError, match="do not divide"):
        Training(GPUS["H100"], **wrong)
