"""Every phase of the schedule runs and hands its weights over, at a tiny size."""

import json
from dataclasses import replace
from shutil import copytree, rmtree

import pytest
import torch
from safetensors.torch import load_file
from sharded_jobs import tiny_transformer

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.recipes.v4_phases import PHASES
from openreels.training.loop import Interrupted
from openreels.training.sharded.cached import CachedData, LatentWriter
from openreels.training.sharded.launch import PhasePlan, PhaseRun, furthest, started, train_phases, write_trained
from openreels.training.stages import part_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> PhasePlan:
    """The schedule over a few random clips; the model is as small as can be."""
    writer, draw = LatentWriter(tmp_path_factory.mktemp("clips"), torch.zeros(1, 12)), torch.Generator().manual_seed(0)
    for _ in range(2):
        normal = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
        writer.add(normal(3, 12), normal(4, 4), (1, 2, 2))
        clip = {"references_NC": [normal(8, 4)], "reference_grids": [(2, 2, 2)]}
        writer.add(normal(2, 12), normal(8, 4), (2, 2, 2), normal(5, 6), **clip)
    writer.close()
    config = tiny_transformer(num_single_layers=0).config
    transformer = {name: value for name, value in config.items() if not name.startswith("_")}
    return PhasePlan(PHASES, transformer, CachedData(writer.folder))


@pytest.fixture(scope="module")
def life(plan, tmp_path_factory):
    """All phases, one step each."""
    workdir = tmp_path_factory.mktemp("life")
    train_phases(plan, PhaseRun(workdir, steps=1, batch=2, micro_batch=1))
    return workdir


def weights(folder, phase: str) -> dict[str, torch.Tensor]:
    return dict(SkyReelsV4Transformer.from_pretrained(folder / f"{phase}-weights").named_parameters())


def test_every_phase_trains_its_parts_and_keeps_what_others_handed_over(life):
    for phase in PHASES:
        assert (life / phase.name / "step-000001").is_dir()
        assert (life / f"{phase.name}.jsonl").read_text().count("\n") == 1
        after = weights(life, phase.name)
        for part, source in phase.chosen.starts_from.items():
            before = weights(life, source)
            names = [name for name in after if part_of(name) == part]
            learns = part in phase.chosen.learns
            moved = sum(not torch.equal(before[name], after[name]) for name in names)
            assert (moved > len(names) / 3) if learns else moved == 0, (phase.name, part)
    assert not torch.equal(weights(life, "joint")["audio.embed.weight"], weights(life, "audio")["audio.embed.weight"])
    assert torch.equal(weights(life, "video-2")["audio.embed.weight"], weights(life, "video-1")["audio.embed.weight"])


def test_two_processes_run_a_phase_as_one_does_and_a_frozen_branch_stays(life, plan, tmp_path):
    """Started by ourselves, with sound alone to learn on top of given weights."""
    run = PhaseRun(tmp_path, "joint", steps=1, batch=2, start_from=life / "joint-weights", learns=("audio",), context=2)
    train_phases(plan, run, processes=2)
    alone = tmp_path / "alone"
    train_phases(plan, replace(run, workdir=alone, context=1))
    before, one, two = weights(life, "joint"), weights(alone, "joint"), weights(tmp_path, "joint")
    for name, value in two.items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=1e-5)
        if part_of(name) != "audio":
            assert torch.equal(value, before[name]), name
    assert not torch.equal(two["audio.embed.weight"], before["audio.embed.weight"])


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A transformer's folder to start from."""
    folder = tmp_path_factory.mktemp("start")
    tiny_transformer(num_single_layers=0).save_pretrained(folder)
    return folder


LEARNS = [("video",), ("audio",), ("cross",), ("video", "cross"), ("audio", "cross")]


@pytest.mark.parametrize("learns", LEARNS, ids=",".join)
def test_any_of_the_parts_learn_in_a_phase_of_many_tasks(start, plan, tmp_path, learns):
    """`joint` has steps of video alone, of audio alone and of both."""
    run = PhaseRun(tmp_path, "joint", steps=5, batch=2, micro_batch=2, start_from=start, learns=learns)
    train_phases(plan, run)
    after = weights(tmp_path, "joint")
    before = dict(SkyReelsV4Transformer.from_pretrained(start).named_parameters())
    moved = {part_of(name) for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {*learns}
    rows = [json.loads(row) for row in (tmp_path / "joint.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5] and rows[0]["norm"] > 0


@pytest.mark.parametrize("learns", [("audio",), ("cross",)], ids=",".join)
def test_an_adapter_of_some_parts_learns_in_a_phase_of_many_tasks(start, plan, tmp_path, learns):
    run = PhaseRun(tmp_path, "joint", steps=5, batch=2, start_from=start, learns=learns, lora_rank=2)
    train_phases(plan, run)
    adapter = load_file(tmp_path / "joint-adapter" / "pytorch_lora_weights.safetensors")
    assert {part_of(name) for name, value in adapter.items() if "lora_B" in name and value.any()} == {*learns}


def test_tasks_that_teach_nothing_have_no_share():
    joint = next(phase for phase in PHASES if phase.name == "joint")
    assert joint.learning(("audio",)).shares == pytest.approx({"text-to-video-audio": 2 / 3, "text-to-audio": 1 / 3})
    assert joint.learning(("video", "cross")).shares.keys() == {"text-to-video", "text-to-video-audio"}
    assert joint.learning(("cross",)).shares == {"text-to-video-audio": 1.0}
    assert joint.learning(("video", "audio")).shares == joint.shares


def test_a_schedule_goes_on_without_doing_finished_phases_again(start, plan, tmp_path, capfd):
    schedule = replace(plan, phases=PHASES[:2])
    run = PhaseRun(tmp_path, steps=1, batch=1)
    train_phases(schedule, run)
    first, second = (tmp_path / f"{phase.name}-weights" for phase in schedule.phases)
    stamps = [folder.stat().st_mtime_ns for folder in (first, second)]
    rmtree(second)
    capfd.readouterr()
    train_phases(schedule, run)
    said = capfd.readouterr().out
    assert "video-1: finished already" in said and "video-2: resumed at step 1 of 1" in said
    assert first.stat().st_mtime_ns == stamps[0] and second.stat().st_mtime_ns > stamps[1]

    # More steps: the weights there are of fewer, also where the run stopped before it wrote the new ones.
    train_phases(schedule, replace(run, part="video-1", steps=2))
    (tmp_path / "video-1" / "step-000002" / "exported").unlink()
    train_phases(schedule, replace(run, part="video-1", steps=2))
    assert "video-1: resumed at step 2 of 2" in capfd.readouterr().out


def test_a_start_that_gives_everything_is_copied_and_nothing_drawn(life, start, plan, tmp_path):
    """Parts of two phases over a start; the random numbers are those of before."""
    state = torch.random.get_rng_state()
    joint = plan.phase("joint")
    for phase in ("video-6", "audio"):
        copytree(life / f"{phase}-weights", tmp_path / f"{phase}-weights")
    model = started(plan, PhaseRun(tmp_path, start_from=start), joint)
    assert torch.equal(torch.random.get_rng_state(), state)
    given = {part: weights(life, phase) for part, phase in joint.chosen.starts_from.items()}
    given["cross"] = dict(SkyReelsV4Transformer.from_pretrained(start).named_parameters())
    for name, value in model.named_parameters():
        assert torch.equal(value, given[part_of(name)][name]), name


def test_an_adapter_is_trained_on_given_weights(life, plan, tmp_path):
    train_phases(plan, PhaseRun(tmp_path, "sft-2", steps=1, batch=1, start_from=life / "joint-weights", lora_rank=2))
    assert (tmp_path / "sft-2-adapter" / "pytorch_lora_weights.safetensors").is_file()
    assert not (tmp_path / "sft-2-weights").exists()


def test_a_phase_goes_on_after_its_minutes(plan, tmp_path):
    run = PhaseRun(tmp_path, "video-1", steps=2, minutes=1e-6, batch=1)
    with pytest.raises(Interrupted, match=r"video-1: .* at step 1 of 2"):
        train_phases(plan, run)
    train_phases(plan, replace(run, minutes=None))
    assert (tmp_path / "video-1" / "step-000002").is_dir()


def test_the_furthest_weights_of_every_part_make_the_model(life, plan, tmp_path):
    run = PhaseRun(life)
    assert set(furthest(plan, run).values()) == {"sft-2"}
    assert set(furthest(plan, replace(run, part="joint")).values()) == {"joint"}
    assert furthest(plan, replace(run, part="video-4")) == {"video": "video-4"}
    parts = furthest(plan, replace(run, part="audio"))
    assert parts == {"video": "video-6", "audio": "audio"}
    write_trained(plan, replace(run, part="audio"), tmp_path / "towers")
    trained = {part: weights(life, phase) for part, phase in parts.items()}
    for name, value in SkyReelsV4Transformer.from_pretrained(tmp_path / "towers").named_parameters():
        assert torch.equal(value, trained.get(part_of(name), trained["video"])[name]), name


def test_refusals_name_what_is_wrong(plan, tmp_path):
    with pytest.raises(ValueError, match="needs a budget"):
        train_phases(plan, PhaseRun(tmp_path))
    with pytest.raises(ValueError, match=r"no phase 'sound'; the phases are video-1, .*, sft-2"):
        train_phases(plan, PhaseRun(tmp_path, "sound", steps=1))
    with pytest.raises(FileNotFoundError, match=r"phase joint starts from .*, which is not trained in"):
        train_phases(plan, PhaseRun(tmp_path, "joint", steps=1))
    with pytest.raises(ValueError, match="phase audio learns audio, none of which is to be trained"):
        train_phases(plan, PhaseRun(tmp_path, "audio", steps=1, learns=("cross",)))
    with pytest.raises(ValueError, match="must be a folder with a transformer, not"):
        train_phases(plan, PhaseRun(tmp_path, steps=1, start_from=tmp_path))
    with pytest.raises(ValueError, match=r"are \(4, 6, 12\), and the model needs \(4, 6, 99\)"):
        train_phases(replace(plan, transformer={**plan.transformer, "text_dim": 99}), PhaseRun(tmp_path, steps=1))
    with pytest.raises(ValueError, match="learns must name some of video, audio, cross, not 'adio'"):
        PhaseRun(tmp_path, "joint", learns=("adio", "cross"))
    with pytest.raises(ValueError, match=r"video-1: a step of 3 micro-batches .* among 2 data ranks"):
        train_phases(plan, PhaseRun(tmp_path, steps=1, batch=3), processes=2)
    with pytest.raises(ValueError, match="divides 2 processes, not 3"):
        train_phases(plan, PhaseRun(tmp_path, steps=1, batch=2, context=3), processes=2)
    with pytest.raises(ValueError, match="batch must be a multiple of micro_batch, 2, not 3"):
        train_phases(plan, PhaseRun(tmp_path, steps=1, batch=3, micro_batch=2))
    assert not list(tmp_path.iterdir())


def test_a_phase_without_a_clip_for_the_parts_that_learn(plan, start, tmp_path):
    writer = LatentWriter(tmp_path / "clips", torch.zeros(1, 12))
    writer.add(torch.zeros(2, 12), torch.zeros(8, 4), (2, 2, 2))
    writer.add(torch.zeros(2, 12), audio_AC=torch.zeros(5, 6), latent_frames=2)
    writer.close()
    silent = replace(plan, data=CachedData(writer.folder))
    with pytest.raises(ValueError, match=r"joint has nothing to train on: there are no clips for text-to-video-audio$"):
        train_phases(silent, PhaseRun(tmp_path, "joint", steps=1, start_from=start, learns=("cross",)))
