"""The whole life of the tiny plan: what it leaves behind, how stages start from one another, what it refuses."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import heard_numbers, seen_numbers
from openreels.models.planner import LayoutPlanner
from openreels.models.sketch import likely_velocity
from openreels.models.surroundings import Surroundings
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.recipes.pocket import export, tiny_plan
from openreels.recipes.pocket import plan as pocket_plan
from openreels.training.checkpoint import load_checkpoint, save_checkpoint
from openreels.training.loop import Interrupted
from openreels.training.plan import begin_from, load_components, load_parts, load_text, train
from openreels.training.stages import part_of
from openreels.world.examples import ROWS

pytestmark = pytest.mark.usefixtures("one_thread")
LAST = torch.tensor([-1])  # of what a token is told: that it is told
STAGES = ("reading", "images", "sketch", "video", "sound", "following", "joint", "tasks", "everything")


def averaged(folder, stage: str) -> dict[str, torch.Tensor]:
    """Name -> averaged weight of the transformer after a stage."""
    ema = load_checkpoint(folder / f"{stage}.pt")["ema"]
    return {key.removeprefix("transformer."): value for key, value in ema.items() if key.startswith("transformer.")}


def test_a_life_leaves_checkpoints_logs_and_pictures_of_every_stage(life):
    for stage in STAGES:
        assert load_checkpoint(life / f"{stage}.pt")["step"] == 2
        assert (life / f"{stage}.jsonl").read_text().count("\n") == 1
        assert (life / f"{stage}.png").stat().st_size > 1000
    assert (life / "losses.png").stat().st_size > 1000


def test_the_stages_of_the_pocket_follow_the_paper():
    """Stills first, sketches of layouts, then video with stills among it; sound alone; both streams; then tasks."""
    stages = pocket_plan().stages
    assert tuple(stage.name for stage in stages) == STAGES
    both = ("video", "audio")
    video = ("video",)
    assert [stage.streams for stage in stages] == [video, video, both, video, ("audio",), both, both, video, both]
    for stage in stages:
        total = sum(share.weight for share in stage.shares)
        stills = sum(share.weight for share in stage.shares if share.bucket.frames == 1) / total
        if stage.name in ("reading", "images"):
            assert stills == 1
        elif stage.name == "tasks":
            assert 0.4 < stills < 0.7
        elif {"video", "sketch"} & {*stage.learns}:
            assert 0.05 < stills < 0.5
        else:
            assert stills == 0


def test_stills_among_clips_have_no_sound():
    joint = next(stage for stage in pocket_plan().stages if stage.name == "joint")
    assert {joint.streams_of(share) for share in joint.shares if share.bucket.frames == 1} == {("video",)}
    assert {joint.streams_of(share) for share in joint.shares if share.bucket.frames > 1} == {("video", "audio")}


def test_every_row_of_the_task_table_is_learnt():
    """In pictures alone where that teaches something, and all of them in the end; plain clips stand for two rows."""
    plain = {"t2av", "t2i"}
    tasks, everything = pocket_plan().stages[-2:]
    rows = {share.bucket.row for share in everything.shares} - {None}
    assert rows == set(ROWS) - plain
    assert {share.bucket.row for share in tasks.shares} - {None} <= rows
    for share in (*tasks.shares, *everything.shares):
        assert share.batch > 0 and everything.streams_of(share)


def test_the_parts_of_a_run_share_its_minutes():
    plan = pocket_plan()
    shares = [
        plan.codec_minutes_share,
        plan.text_minutes_share,
        plan.brief_minutes_share,
        plan.reader_minutes_share,
        plan.planner_minutes_share,
        plan.decoder_minutes_share,
    ]
    assert sum(shares) + sum(stage.minutes_share for stage in plan.stages) == pytest.approx(1.0)


def test_each_part_starts_from_the_stage_it_names(life):
    plan = tiny_plan()
    codecs, encoder = load_components(life)
    sizes = codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width
    torch.manual_seed(1)
    fresh = plan.transformer(*sizes).state_dict()
    stages = {stage.name: averaged(life, stage.name) for stage in plan.stages}
    for stage in plan.stages:
        torch.manual_seed(1)
        model = plan.transformer(*sizes)
        load_parts(model, stage, life)
        for name, value in model.state_dict().items():
            source = stage.starts_from.get(part_of(name))
            assert torch.equal(value, stages[source][name] if source else fresh[name]), (stage.name, name)


def test_two_steps_change_what_a_stage_learns_and_nothing_else(life):
    joint, following, video, sound = (averaged(life, stage) for stage in ("joint", "following", "video", "sound"))
    for name, value in following.items():
        if part_of(name) == "video":
            assert torch.equal(value, video[name]), name
        assert torch.isfinite(joint[name]).all()
    assert not torch.equal(following["audio.embed.weight"], sound["audio.embed.weight"])
    assert not torch.equal(joint["video.embed.weight"], following["video.embed.weight"])


def test_reading_and_tasks_train_the_text_encoder_and_other_stages_leave_it(life, parts):
    (_, before), (_, after) = load_components(parts), load_components(life)
    learns = [stage.name for stage in tiny_plan().stages if "text" in stage.learns]
    assert learns == ["reading", "tasks"]
    trained = load_checkpoint(life / "tasks.pt")["ema"]
    for name, weight in after.model.named_parameters():
        assert torch.equal(weight, trained[f"encoder.{name}"]), name
    assert not torch.equal(before.model.shared.weight, after.model.shared.weight)


def test_a_finished_stage_is_left_as_it_is_until_asked_for_more(life, tmp_path, capsys):
    folder = tmp_path / "work"
    shutil.copytree(life, folder)
    train(tiny_plan(), folder, part="sound", steps=2)
    assert "sound: resumed at step 2 of 2" in capsys.readouterr().out
    assert (folder / "sound.pt").read_bytes() == (life / "sound.pt").read_bytes()
    train(tiny_plan(), folder, part="sound", steps=3)
    assert load_checkpoint(folder / "sound.pt")["step"] == 3


def test_several_processes_stop_together_when_their_minutes_are_over(parts, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(parts, folder)
    train(tiny_plan(), folder, steps=1, part="latents")
    with pytest.raises(Interrupted, match="minutes are over at step"):
        train(tiny_plan(), folder, part="sound", minutes=1e-4, steps=1_000_000, processes=2)
    assert 1 <= load_checkpoint(folder / "sound.pt")["step"] < 1_000_000


def test_the_decoder_learns_last_and_nothing_else_of_the_codec_changes(parts, life):
    assert pocket_plan().parts[-1] == "decoder"
    (before, _), (after, _) = load_components(parts), load_components(life)
    assert load_checkpoint(life / "decoder.pt")["step"] == 2
    for (name, old), new in zip(before.video.vae.named_parameters(), after.video.vae.parameters(), strict=True):
        if name.startswith("encoder"):
            assert torch.equal(old, new), name
    assert not torch.equal(before.video.vae.decoder["leave"].bias, after.video.vae.decoder["leave"].bias)
    assert before.fingerprint("video") == after.fingerprint("video")  # latents need not be built anew


def test_the_brief_comes_when_the_text_encoder_is_ready_and_reads_that_one(life, tmp_path):
    parts = pocket_plan().parts
    assert parts.index("tasks") + 1 == parts.index("brief") == parts.index("everything") - 1
    _, encoder = load_components(life)
    assert encoder.brief.config.reads == encoder.fingerprint and load_checkpoint(life / "brief.pt")["step"] == 2
    assert averaged(life, "everything")["video.sketch.enter_brief.weight"].any()
    assert not averaged(life, "joint")["video.sketch.enter_brief.weight"].any()
    loaded = SkyReelsV4Pipeline.from_pretrained(export(tiny_plan(), life, tmp_path) and tmp_path)
    prompt = ["A red ball in the city"]
    assert_close(loaded.encoder.encode(prompt).brief_BK, encoder.encode(prompt).brief_BK, atol=0.02, rtol=0.0)
    with pytest.raises(ValueError, match="the brief has learnt to read another text_encoder"):
        loaded.brief.register_to_config(reads="other")
        SkyReelsV4Pipeline(**loaded.components)


def test_the_planner_comes_after_all_stages_and_reads_the_text_encoder_of_the_last_stage(life, tmp_path):
    assert pocket_plan().parts[-2] == "planner"
    planner, (_, encoder) = LayoutPlanner.from_pretrained(life / "planner"), load_components(life)
    assert planner.config.reads == encoder.fingerprint
    assert load_checkpoint(life / "planner.pt")["step"] == 2
    pipeline = export(tiny_plan(), life, tmp_path / "weights")
    assert pipeline.planner.config.reads == pipeline.encoder.fingerprint  # rounded to bfloat16, it is the same encoder
    loaded = SkyReelsV4Pipeline.from_pretrained(tmp_path / "weights")
    assert loaded.planner.config.reads == loaded.encoder.fingerprint
    folder = tmp_path / "work"
    begin_from(tmp_path / "weights", folder)
    train(tiny_plan(), folder, steps=1, part="planner")  # goes on from the one that was brought
    changed = LayoutPlanner.from_pretrained(folder / "planner")
    assert not torch.equal(changed.embed_token, planner.embed_token)
    assert (changed.embed_token - planner.embed_token).abs().max() < 0.02


def test_training_goes_on_from_exported_weights(life, tmp_path):
    export(tiny_plan(), life, tmp_path / "weights")
    folder = tmp_path / "work"
    begin_from(tmp_path / "weights", folder)
    last = averaged(life, "everything")
    codecs, encoder = load_components(folder)
    sizes = codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width
    following = next(stage for stage in tiny_plan().stages if stage.name == "following")

    model = tiny_plan().transformer(*sizes)
    load_parts(model, following, folder)
    for name, value in model.state_dict().items():
        assert torch.equal(value, last[name].bfloat16().float()), name

    # What is trained anew takes over, part by part.
    shutil.copy(life / "video.pt", folder)
    load_parts(model, following, folder)
    video = averaged(life, "video")
    for name, value in model.state_dict().items():
        expected = video[name] if part_of(name) in ("video", "sketch") else last[name].bfloat16().float()
        assert torch.equal(value, expected), name


@torch.no_grad()
def test_a_model_without_layouts_grows_an_entrance_and_trusts_its_sketch_by_half_at_first(tiny, tmp_path):
    old = tiny.shake(tiny.transformer(gaussian_skip=True))
    old.save_pretrained(tmp_path / "start")
    model = tiny.transformer(gaussian_skip=True, layout_classes=(2, 3))
    load_parts(model, next(stage for stage in tiny_plan().stages if stage.name == "video"), tmp_path)
    numbers = seen_numbers((2, 3)), heard_numbers((2, 3))
    video, audio = (
        replace(state, layout_BNK=tiny.noise(2, state.tokens, count + 1, seed=8))
        for state, count in zip((tiny.video(), tiny.audio()), numbers, strict=True)
    )
    video, audio = (replace(each, layout_BNK=each.layout_BNK.index_fill(-1, LAST, 1.0)) for each in (video, audio))
    before = old(tiny.video(), tiny.audio(), tiny.context())
    told = model(video, audio, tiny.context())
    for tower, state, velocity, same in zip((model.video, model.audio), (video, audio), told, before, strict=True):
        likely = likely_velocity(
            state.noisy_BNC, state.time_B, *tower.sketch(state.layout_BNK, tiny.context(), Surroundings.of(state))
        )
        assert_close(velocity, (same + likely) / 2)
    untold = [replace(each, layout_BNK=each.layout_BNK.index_fill(-1, LAST, 0.0)) for each in (video, audio)]
    for velocity, same in zip(model(*untold, tiny.context()), before, strict=True):
        assert_close(velocity, same)


def test_workers_change_nothing(parts, tmp_path):
    for workers in (0, 2):
        shutil.copytree(parts, tmp_path / str(workers))
        train(tiny_plan(), tmp_path / str(workers), steps=1, part="latents")
        train(tiny_plan(), tmp_path / str(workers), steps=2, part="sound", workers=workers)
    one, other = (averaged(tmp_path / str(workers), "sound") for workers in (0, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_refusals_name_what_is_wrong(parts, tmp_path):
    with pytest.raises(ValueError, match=r"no part 'colour'.*video_codec.*joint"):
        train(tiny_plan(), tmp_path, steps=1, part="colour")
    with pytest.raises(ValueError, match="minutes or steps"):
        train(tiny_plan(), tmp_path)
    shutil.copytree(parts, tmp_path / "work")
    with pytest.raises(FileNotFoundError, match="joint starts from following"):
        train(tiny_plan(), tmp_path / "work", steps=1, part="joint")


def test_a_stage_that_is_not_over_goes_with_its_own_text_encoder(life, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(life, folder)
    (folder / "everything.pt").unlink()
    state = load_checkpoint(folder / "tasks.pt")
    for key, value in state["ema"].items():
        if key.startswith("encoder."):
            value.add_(1.0)
    save_checkpoint(folder / "tasks.pt", state)
    for reader in ("brief", "planner"):
        with pytest.raises(ValueError, match=f"the {reader} has learnt to read another text_encoder"):
            export(tiny_plan(), folder, tmp_path / "out")
        shutil.rmtree(folder / reader)
    exported = export(tiny_plan(), folder, tmp_path / "out")
    for name, weight in exported.text_encoder.named_parameters():
        assert torch.equal(weight, state["ema"][f"encoder.{name}"].bfloat16()), name


def test_a_text_encoder_that_no_stage_trained_stays(life, parts, tmp_path):
    (_, encoder), (_, before) = load_components(parts), load_components(parts)
    load_text(encoder, ["joint", "nowhere"], life)
    for one, other in zip(encoder.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(one, other)
    load_text(encoder, ["tasks"], life)
    assert not torch.equal(encoder.model.shared.weight, before.model.shared.weight)
