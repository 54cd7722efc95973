import json
import subprocess
import sys

import pytest

from openreels.hardware import GPUS, Placement, choose
from openreels.pipelines.v3 import planning
from openreels.pipelines.v3.planning import MODELS


def test_plan(openreels):
    outcome = openreels("plan", "r2v", "--resolution", "720P", "--duration", "5", "--gpu", "H100")
    assert (outcome.code, outcome.err) == (0, "")
    assert "transformer 14.2885 B, text_encoder 5.6809 B, vae 0.1269 B" in outcome.out
    assert "120 frames of 1280 x 720 at 24 fps" in outcome.out
    assert "126,000 tokens" in outcome.out
    assert "* resident, bf16" in outcome.out
    assert "Pick: resident, bf16" in outcome.out


def test_json(openreels):
    outcome = openreels("plan", "v2v", "--duration", "10", "--gpu", "4090", "--json")
    result = json.loads(outcome.out)
    assert result["parameters"]["transformer"] == 14_288_491_584
    assert (result["size"], result["frames"], result["passes"]) == ([1280, 720], 240, 2)
    assert result["evaluations"] == 16
    assert result["tokens"] == [37 * 3600, 37 * 3600]
    picked = result["pick"]
    assert picked in result["placements"]
    assert picked["fits"]
    assert picked["peak_vram"] == max(picked["vram"].values()) <= 24e9
    assert picked["estimated_total_seconds"] == pytest.approx(sum(picked["estimated_seconds"].values()), abs=0.1)
    assert "transformer_share_of_peak" in result["assumptions"]


def test_resolutions_are_written_either_way(openreels):
    sizes = [json.loads(openreels("plan", "r2v", "--resolution", r, "--json").out)["size"] for r in ("480p", "480P")]
    assert sizes == [[848, 480]] * 2


def test_a_long_result_is_in_ram():
    short, long = (planning.job_of("v2v", duration=seconds) for seconds in (10, 200))
    assert long.result_bytes == 200 * 24 * 720 * 1280 * 3
    for placement in (Placement(), Placement("offload"), Placement("group", prefetch=True)):
        needed = [planning.estimate(job, placement, GPUS["H100"]).ram for job in (short, long)]
        assert needed[1] - needed[0] == long.result_bytes - short.result_bytes


def test_official_passes(openreels):
    """spec/v3.md, 1 and 5: 33 new latents after 7 of the prefix; new shots of 31 before 9 of the context."""
    for model, frames, tokens in [("v2v", 132, 144_000), ("v2v-shot", 121, 144_000), ("r2v", 121, 126_000)]:
        result = json.loads(openreels("plan", model, "--official", "--json").out)
        assert (result["frames"], max(result["tokens"])) == (frames, tokens)
    assert max(json.loads(openreels("plan", "a2v", "--json").out)["tokens"]) == 75_600


@pytest.mark.parametrize("model", [name for model in MODELS.values() for name in model.hub_ids])
def test_hub_ids(openreels, model):
    assert openreels("plan", model, "--gpu", "B200").code == 0


def test_pocket(pocket, openreels):
    outcome = openreels("plan", "pocket")
    assert (outcome.code, outcome.err) == (0, "")
    counts = json.loads(openreels("plan", "pocket", "--json").out)["parameters"]
    assert set(counts) == {"transformer", "video_vae", "audio_vae", "vocoder", "text_encoder"}
    assert all(count > 0 for count in counts.values())


def test_nothing_fits(openreels):
    outcome = openreels("plan", "a2v", "--gpu", "4090", "--ram", "32")
    assert outcome.code == 0
    assert "Nothing fits: what fits the GPU takes" in outcome.out
    assert json.loads(openreels("plan", "a2v", "--gpu", "4090", "--ram", "32", "--json").out)["pick"] is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["r3v"], "model must be one of r2v, v2v, v2v-shot, a2v"),
        (["r2v", "--gpu", "3060"], "--gpu must be one of 4090, 5090"),
        (["r2v", "--resolution", "1080P"], "resolution must be one of 480P, 540P, 720P, not '1080P'"),
        (["r2v", "--duration", "0"], "--duration must be a number above 0, not '0'"),
        (["r2v", "--duration", "300"], "duration must be a number of seconds above 0 and up to 200"),
        (["v2v-shot", "--duration", "8"], "a new shot lasts 2 to 5 seconds, not 8"),
        (["v2v", "--duration", "2.5", "--official"], "official mode"),
        (["r2v", "--aspect", "2:1"], "aspect must be one of"),
        (["r2v", "--references", "5"], "--references must be a whole number from 1 to 4, not '5'"),
        (["pocket", "--train"], "--train is for"),
        (["r2v", "--gpus", "8"], "--gpus cannot be used with a request"),
        (["full", "--references", "2", "--official"], "--references, --official cannot be used with a request to full"),
        (["full", "--train", "--resolution", "480p"], "--resolution cannot be used with a plan of training"),
        (["r2v", "--steps", "x"], "--steps must be a whole number from 1 to 1,000, not 'x'"),
    ],
)
def test_mistakes(openreels, flags, sentence):
    outcome = openreels("plan", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("openreels: ") and outcome.err.count("\n") == 1
    assert sentence in outcome.err


def test_planning_needs_no_torch():
    code = (
        "import sys\nfrom openreels.cli.__main__ import main\nmain(['plan', 'a2v'])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# -- the choice -------------------------------------------------------------------------------------------------------


def pick(model: str, gpu: str, **request) -> Placement | None:
    found = planning.estimates(planning.job_of(model, **request), GPUS[gpu])
    best = choose(found, GPUS[gpu])
    return best and best.placement


def test_all_on_the_device_where_it_fits():
    assert pick("r2v", "H200") == Placement()
    assert pick("a2v", "B200") == Placement()


def test_a_small_gpu_gets_groups():
    placement = pick("a2v", "4090", resolution="720P")
    assert (placement.where, placement.prefetch) == ("group", True)


def test_every_gpu_can_do_something():
    for model in MODELS:
        for gpu in GPUS:
            assert pick(model, gpu) is not None, (model, gpu)


def test_order_of_placements():
    """More room, less time: each kind of placement takes less memory and no less time than the one before."""
    job, gpu = planning.job_of("a2v", duration=20), GPUS["A100-80"]
    kinds = [Placement(), Placement("offload"), Placement("group", prefetch=True), Placement("group")]
    found = [planning.estimate(job, kind, gpu) for kind in kinds]
    assert [each.vram["sampling"] for each in found] == sorted((e.vram["sampling"] for e in found), reverse=True)
    assert found[0].total_seconds == min(each.total_seconds for each in found)
    assert found[3].total_seconds > found[2].total_seconds


def test_eight_bits_halve_the_blocks():
    job, gpu = planning.job_of("r2v"), GPUS["5090"]
    saved = (
        planning.estimate(job, Placement(), gpu).peak_vram
        - planning.estimate(job, Placement(weights="fp8"), gpu).peak_vram
    )
    assert saved == 40 * job.model.network.block_linear_parameters


@pytest.mark.parametrize(
    "wrong", [{"where": "moon"}, {"weights": "int4"}, {"where": "resident", "prefetch": True}], ids=str
)
def test_wrong_placements(wrong):
    with pytest.raises(ValueError, match=r"must be|only groups"):
        Placement(**wrong)


def test_a_preset_of_v4(openreels):
    result = json.loads(openreels("plan", "mid", "--gpu", "4090", "--resolution", "480p", "--json").out)
    assert sum(result["parameters"].values()) == 1_018_357_832
    assert result["tokens"]["audio"] == 215 and result["pick"]["fits"]
    shown = openreels("plan", "mid", "--gpu", "4090", "--resolution", "480p").out
    assert "1.0184 B (video" in shown and "* " in shown


def test_training_of_a_preset(openreels):
    arguments = ("plan", "mid", "--train", "--gpus", "8", "--gpu", "H100", "--price", "3")
    result = json.loads(openreels(*arguments, "--json").out)
    assert [phase["name"] for phase in result["phases"]][-3:] == ["joint", "sft-1", "sft-2"]
    assert result["price"] == pytest.approx(result["days"] * 24 * 8 * 3, rel=1e-3)
    assert "video-1" in openreels(*arguments).out


def test_training_of_what_is_no_preset(openreels):
    outcome = openreels("plan", "r2v", "--train")
    assert outcome.code == 2 and "--train is for full, full-hv1, mid" in outcome.err
