"""What one step of a stage computes. Legend: see training/stages.py."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from openreels.flow.path import interpolate
from openreels.models.layout import CLASSES, LAYOUT_PARTS, THERE, X, Y
from openreels.models.sketch import Sketched
from openreels.recipes.pocket import tiny_plan
from openreels.tasks.states import audio_state, video_state
from openreels.training import stages
from openreels.training.loop import step_generator
from openreels.training.stages import (
    OnPath,
    TimeSampling,
    flow_error,
    on_path,
    part_of,
    sketch_error,
    with_beginning,
    worth_sketching,
)

pytestmark = pytest.mark.usefixtures("one_thread")
STAGES = {stage.name: stage for stage in tiny_plan().stages}


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(task, number: int = 0):
    return task.loss(task.draw(number, step_generator(0, task.name, number)))


@pytest.fixture
def make_task(worker, life):
    def make(name: str, **changes):
        stage = STAGES[name]
        if batch := changes.pop("batch", None):
            changes["shares"] = [replace(stage.shares[0], batch=batch)]
        return worker.stage_task(life, replace(stage, **changes))

    return make


# --- times -----------------------------------------------------------------------------------------------------------


def test_times_are_logit_normal():
    video, audio = TimeSampling(mean=-0.5, std=0.8, shared=0.0).draw(40_000, gen())
    for times in (video, audio):
        assert times.logit().mean().item() == pytest.approx(-0.5, abs=0.02)
        assert times.logit().std().item() == pytest.approx(0.8, abs=0.02)
    assert abs(torch.corrcoef(torch.stack([video, audio]))[0, 1]) < 0.02


def test_joint_samples_are_divided_as_told():
    """Half share one time, 20 % see a finished picture, 10 % a finished sound, the rest draw two times."""
    video, audio = TimeSampling(shared=0.5, clean_video=0.2, clean_audio=0.1).draw(40_000, gen())
    same, clean_video, clean_audio = video == audio, video == 1, audio == 1
    assert same.float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert clean_video.float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert clean_audio.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert not (clean_video & clean_audio).any()


def test_one_time_for_both_is_the_default():
    video, audio = TimeSampling().draw(1000, gen())
    assert torch.equal(video, audio) and (video < 1).all() and (video > 0).all()


# --- the objective ---------------------------------------------------------------------------------------------------


def test_the_times_of_a_batch_are_spread_evenly():
    """One in each of as many equally likely intervals."""
    video, audio = TimeSampling(mean=-0.3, std=0.7, shared=0.0).draw(64, gen())
    for time_B in (video, audio):
        quantile_B = torch.special.ndtr((torch.logit(time_B.double()) + 0.3) / 0.7)
        assert sorted((quantile_B * 64).int().tolist()) == list(range(64))
    assert not torch.equal(video.argsort(), audio.argsort())


def test_on_path_lies_between_noise_and_data(tiny):
    blank, data, time = video_state(tiny.VIDEO, 2), tiny.noise(2, 12, 4), torch.tensor([0.25, 1.0])
    state, target = on_path(blank, data, time, gen())
    assert_close(interpolate(data, data - target, time), state.noisy_BNC)
    assert torch.equal(state.time_B, time) and torch.equal(state.noisy_BNC[1], data[1])
    assert (data - target).std().item() == pytest.approx(1.0, abs=0.2)


def test_clean_samples_do_not_count(tiny):
    target, time = tiny.noise(3, 5, 4), torch.tensor([0.5, 1.0, 0.1])
    wrong = target + torch.tensor([1.0, 100.0, 2.0])[:, None, None]
    blank = video_state(replace(tiny.VIDEO, latent_frames=5, latent_height=1, latent_width=1), 3)
    assert flow_error(wrong, OnPath(blank.at(wrong, time), target)).item() == pytest.approx((1 + 4) / 2, rel=1e-4)
    assert flow_error(wrong, OnPath(blank.at(wrong, torch.ones(3)), target)).item() == 0


# --- a step ----------------------------------------------------------------------------------------------------------


def received(task, number: int = 0):
    """What the transformer was called with during one step: (video, audio, context, tie)."""
    seen = []
    hook = task.model.register_forward_pre_hook(lambda _, args: seen.append(args))
    step(task, number)
    hook.remove()
    return seen[0]


def test_a_step_builds_the_states_that_sampling_builds(make_task):
    task = make_task("joint")
    data = task.latents[task.stage.shares[0].bucket]
    video, audio, context, tie = received(task)
    blanks = video_state(data.video_shape, 2), audio_state(data.audio_shape, data.video_shape.latent_frames, 2)
    for state, blank in zip((video, audio), blanks, strict=True):
        for name in ("positions_NP", "reference_positions_RP", "given_BNC", "mask_BN1", "reference_BRC"):
            assert torch.equal(getattr(state, name), getattr(blank, name)), name
    assert video.noisy_BNC.shape == blanks[0].noisy_BNC.shape
    assert audio.noisy_BNC.shape == blanks[1].noisy_BNC.shape
    assert context.hidden_BLD.shape[0] == tie.shape[0] == 2


@pytest.mark.parametrize(("name", "streams"), [("images", "video"), ("sound", "audio"), ("joint", "video audio")])
def test_only_the_streams_of_the_stage_run(make_task, name, streams):
    task = make_task(name)
    video, audio, _, _ = received(task)
    given = [stream for stream, state in (("video", video), ("audio", audio)) if state is not None]
    assert given == streams.split() == [key for key in step(task)[1] if key in ("video", "audio")]


def test_what_the_model_sees_belongs_to_one_clip(make_task):
    """At t = 1 both streams hold their clip's latents: the same clip in both."""
    task = make_task("joint", batch=6, times=TimeSampling(mean=50.0, std=0.1))
    data = task.latents[task.stage.shares[0].bucket]
    video, audio, _, _ = received(task)
    assert video.time_B.tolist() == [1.0] * 6

    looks_BNC = video.noisy_BNC[..., : task.model.config.video_channels]

    def clip_of(latents, sample):
        return (latents.float() - sample).abs().flatten(1).sum(1).argmin().item()

    pairs = [
        (clip_of(data.latents["video"], looks_BNC[i]), clip_of(data.latents["audio"], audio.noisy_BNC[i]))
        for i in range(6)
    ]
    assert all(v == a for v, a in pairs) and len(set(pairs)) > 1


def test_texts_and_ties_are_dropped_as_often_as_told(make_task):
    task = make_task("joint", batch=40, text_dropout=0.4, cross_dropout=0.2)
    calls = [received(task, number) for number in range(8)]
    empty = torch.cat([context.mask_BL.sum(1) == 1 for _, _, context, _ in calls])
    apart = torch.cat([tie == 0 for *_, tie in calls])
    assert empty.float().mean().item() == pytest.approx(0.4, abs=0.1)
    assert apart.float().mean().item() == pytest.approx(0.2, abs=0.08)


def test_captions_of_a_batch_are_about_equally_long(make_task):
    task = make_task("joint", text_dropout=0.0)
    data = task.latents[task.stage.shares[0].bucket]
    texts = [task._clips_and_captions(data, 12, length, gen())[1] for length in range(4)]
    tokens = [[len(task.encoder.tokenizer(text).input_ids) for text in batch] for batch in texts]
    assert all(max(shorter) <= min(longer) for shorter, longer in pairwise(tokens))


def test_following_shows_half_of_the_pictures_finished(make_task):
    task = make_task("following", batch=40)
    times = torch.cat([received(task, number)[0].time_B for number in range(5)])
    assert (times == 1).float().mean().item() == pytest.approx(0.5, abs=0.12)


# --- what learns -----------------------------------------------------------------------------------------------------


EYES = ("sketch.mentions.", ".looks.0.", ".pictures.")  # of a sketch: what is used where something is given


@pytest.mark.parametrize("name", STAGES)
def test_gradients_reach_exactly_what_the_stage_learns(make_task, name):
    task = make_task(name)
    for number in range(2):
        step(task, number)[0].backward()
    for key, parameter in task.model.named_parameters():
        learns = part_of(key) in task.stage.learns and not ("video_from_audio" in key and name == "following")
        learns = learns and not (name == "sound" and any(part in key for part in LAYOUT_PARTS))
        learns = learns and (part_of(key) != "sketch" or key.split(".")[0] in task.stage.streams)
        assert parameter.requires_grad == learns, key
        if not any(part in key for part in EYES):  # nothing is given in plain clips: there is nothing to look at
            assert (parameter.grad is not None) == learns, key
    assert all(p.grad is None for p in task.encoder.model.parameters()) or "text" in task.stage.learns


def test_what_looks_in_pictures_learns_where_something_is_given(make_task):
    (case,) = (share for share in STAGES["tasks"].shares if share.bucket.row == "extension")
    task = make_task("tasks", shares=[case], layout_dropout_given=0.0)
    eyes = {key: value for key, value in task.model.named_parameters() if any(part in key for part in EYES)}
    drawn = task.draw(0, step_generator(0, task.name, 0))._replace(is_blind=False)
    task.loss(drawn)[0].backward()
    assert eyes and all(parameter.grad is not None for parameter in eyes.values())


def test_every_parameter_belongs_to_one_part(tiny):
    parts = {part_of(name) for name, _ in tiny.transformer(layout_classes=(2, 3)).named_parameters()}
    assert parts == {"video", "audio", "cross", "sketch"}
    assert part_of("audio.sketch.enter.weight") == "sketch" and part_of("audio.embed_sketch.weight") == "audio"
    assert part_of("layers.0.audio.text_cross.to_q.weight") == part_of("audio.embed.bias") == "audio"
    assert part_of("layers.1.audio_from_video.to_q.weight") == part_of("layers.1.video_from_audio.time_bias") == "cross"


def test_buckets_are_drawn_by_their_weights(make_task):
    """The draw depends on the step alone, so all processes of a run take the same bucket."""
    task = make_task("images")
    share = task.stage.shares[0]
    task = make_task("images", shares=[replace(share, weight=3.0, batch=1), replace(share, weight=1.0, batch=2)])
    batches = [len(received(task, number)[0].time_B) for number in range(200)]
    assert batches.count(2) / 200 == pytest.approx(0.25, abs=0.08)
    assert batches[7] == len(received(task, 7)[0].time_B)
    assert task.samples_per_step == 1


def test_a_reading_step_without_any_caption_is_still_finite(make_task, worker, life):
    """All prompts of a small batch can be dropped at once."""
    from openreels.training.stages import StageTask
    from openreels.training.text_encoder import AttributeHeads

    bare = make_task("reading", text_dropout=1.0)
    task = StageTask(bare.stage, bare.model, bare.encoder, bare.latents, AttributeHeads(bare.encoder.width))
    assert torch.isfinite(step(task)[0])


def test_a_plain_clip_may_be_begun_as_sampling_would_begin_it(make_task):
    """What is given is what the codec makes of its first frame, or of some more, alone."""
    begun, free = (make_task("joint", begun=share, batch=3) for share in (1.0, 0.0))
    data = begun.latents[begun.stage.shares[0].bucket]
    each = data.video_shape.latent_height * data.video_shape.latent_width
    video = begun.draw(0, step_generator(0, begun.name, 0)).video
    assert not free.draw(0, step_generator(0, free.name, 0)).video.state.mask_BN1.any()
    mask_BN1 = video.state.mask_BN1
    clean_BNC = video.state.noisy_BNC + (1 - video.state.time_B)[:, None, None] * video.target_BNC
    assert mask_BN1[:, :each].all() and not mask_BN1[:, each:].any()
    assert_close(video.state.given_BNC, clean_BNC * mask_BN1, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("frames", "kept"), [(1, {1}), (2, {1}), (9, {1, 2, 3, 4, 5, 6, 7})])
def test_a_beginning_is_never_all_and_most_often_one_frame(tiny, frames, kept):
    shape = replace(tiny.VIDEO, latent_frames=frames)
    each = shape.latent_height * shape.latent_width
    blank, draws = video_state(shape, 1), gen()
    found = [
        int(with_beginning(blank, blank.noisy_BNC, shape, draws).mask_BN1.sum()) // each for _ in range(200)
    ]  # fmt: skip
    assert {*found} == kept
    assert found.count(1) >= 0.4 * len(found)


# --- sketches --------------------------------------------------------------------------------------------------------


def test_a_sketch_learns_what_told_tokens_hold_and_no_tower_runs(make_task):
    task = make_task("sketch", batch=4)
    ran = []
    task.model.register_forward_pre_hook(lambda *_: ran.append(1))
    shown = [step(task, number)[1] for number in range(2)]
    assert not ran and all(each.keys() == {"video sketch", "audio sketch"} for each in shown)


def test_a_sketch_is_judged_on_clean_latents_of_told_tokens(tiny):
    data, time_B = tiny.noise(2, 12, 4), torch.tensor([0.25, 0.9])
    assert_close(on_path(video_state(tiny.VIDEO, 2), data, time_B, gen()).data_BNC, data)
    told_BN = torch.zeros(2, 12)
    told_BN[0, :3] = 1.0
    mean = data + 100.0 * (told_BN[..., None] == 0)  # what is not told does not count
    mean[0, 0] += 3.0
    variance = torch.full((2, 12, 1), 0.5)
    loss, shown = sketch_error(Sketched(mean, variance), data, told_BN)
    assert shown.item() == pytest.approx(9.0 / 3, rel=1e-4)
    assert loss.item() == pytest.approx(0.5**0.5 * (0.5 * torch.tensor(0.5).log().item() + 3.0), rel=1e-4)


def test_a_sketch_looks_most_at_what_is_near_subjects_and_not_given(tiny):
    state = video_state(tiny.VIDEO, 2)
    told = torch.zeros(2, state.tokens, CLASSES + 6)
    told[0, :4, THERE] = 1.0
    told[0, 0, X] = told[0, 1, Y] = 3.0  # tokens away
    mask = state.mask_BN1.clone()
    mask[0, 3] = 1.0
    worth = worth_sketching(replace(state, layout_BNK=told, mask_BN1=mask))
    assert worth[0, :5].tolist() == pytest.approx([0.25, 0.25, 1.0, 0.02, 0.25]) and (worth[1] == 0.25).all()


def test_where_the_sketch_learns_alone_it_learns_from_some_tokens_of_a_clip(make_task, monkeypatch):
    monkeypatch.setattr(stages, "SKETCHED", 7)
    task = make_task("sketch", batch=4)
    seen = []
    task.model.video.sketch.register_forward_pre_hook(lambda _, args: seen.append(args))
    drawn = task.draw(0, step_generator(0, task.name, 0))
    task.loss(drawn)
    (told, _, surroundings), index = seen[0], drawn.looked_at_BP
    assert index.shape == told.shape[:2] == surroundings.beside_BNK.shape[:2] == (4, 7)
    assert torch.equal(
        told, torch.stack([all_[i] for all_, i in zip(drawn.video.state.layout_BNK, index, strict=True)])
    )
    assert make_task("joint").draw(0, gen()).looked_at_BP is None


def test_in_some_steps_a_sketch_of_a_picture_goes_by_the_brief_alone(make_task):
    task = make_task("sketch", batch=4)
    words = task.model.video.sketch.enter_text.to_v.weight, task.model.audio.sketch.enter_text.to_v.weight
    told = task.model.video.sketch.enter_brief.weight
    drawn = task.draw(0, step_generator(0, task.name, 0))
    for is_deaf in (False, True):
        task.model.zero_grad()
        task.loss(drawn._replace(is_deaf=is_deaf))[0].backward()
        assert words[0].grad.any() != is_deaf and words[1].grad.any() and told.grad.any()
    task.encoder.brief = None  # then there is nothing else to go by
    task.model.zero_grad()
    task.loss(drawn._replace(is_deaf=True))[0].backward()
    assert words[0].grad.any() and told.grad is None
    shares = [task.draw(number, gen()).is_deaf for number in range(60)]
    assert 5 < sum(shares) < 35


# --- naming ----------------------------------------------------------------------------------------------------------


def test_naming_teaches_the_layers_below_and_is_left_behind(make_task):
    task = make_task("joint", naming=1.0, batch=2)
    hooks = sum(len(layer._forward_hooks) for layer in task.model.layers)
    loss, said = step(task)
    plain = step(make_task("joint", naming=0.0, batch=2))[0]
    assert "video named" in said and loss > plain
    loss.backward()
    for stream in ("video", "audio"):
        weights = [p for p in task.modules[f"{stream}_names"].classify.parameters() if p.ndim == 2]
        assert weights and all(p.grad.any() for p in weights)
    assert sum(len(layer._forward_hooks) for layer in task.model.layers) == hooks
    assert not any("names" in key for key in task.model.state_dict())


def test_only_what_learns_and_runs_is_named(make_task):
    assert make_task("following", naming=1.0).named == ("audio",)
    drawn = make_task("joint", naming=1.0, batch=2).draw(0, gen())
    assert drawn.truth["video"].classes_BNK.shape[:2] == drawn.video.state.noisy_BNC.shape[:2]
    assert drawn.truth["audio"].classes_BNK.shape[:2] == drawn.audio.state.noisy_BNC.shape[:2]
    assert not make_task("joint", naming=0.0, batch=2).draw(0, gen()).truth
