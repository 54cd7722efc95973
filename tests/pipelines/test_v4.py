"""The pipeline and the reel around it, on tiny random weights of the real classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from openreels.media.aspect import ASPECTS
from openreels.models.layout import heard_numbers, layout_numbers, seen_numbers
from openreels.models.planner import LayoutPlanner
from openreels.models.reader import LayoutReader
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.placement import Placement, apply_placement, placement_by_size
from openreels.pipelines.reel import Reel, hash_folder
from openreels.pipelines.registry import POCKET, available, find
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.request import Request, RequestError
from openreels.tasks.given import Given

BALL = Request(prompt="a red ball bounces", duration=1.0)


@pytest.fixture
def reel(tiny_pipeline):
    return Reel(tiny_pipeline, "tiny", "0" * 16)


def test_shapes_of_frames_and_sound(tiny_pipeline):
    made = tiny_pipeline(["a red ball", "一个红色的球"], num_frames=9, height=32, width=48)
    assert made.frames.shape == (2, 9, 32, 48, 3) and made.frames.dtype == torch.uint8
    assert made.audio.shape == (2, 9_000) and made.audio.abs().max() <= 1


def test_latent_output_has_one_row_per_position(tiny_pipeline):
    made = tiny_pipeline("a red ball", num_frames=9, height=32, width=48, output_type="latent")
    assert made.frames.shape == (1, 3 * 2 * 3, 4) and made.audio.shape == (1, 9, 3)


CLASSES = (2, 3)


@pytest.fixture
def planned(tiny, tiny_pipeline) -> SkyReelsV4Pipeline:
    """The same pipeline with a planner, and a transformer that is told layouts."""
    config = {name: value for name, value in tiny_pipeline.transformer.config.items() if not name.startswith("_")}
    torch.manual_seed(0)
    told = tiny.shake(SkyReelsV4Transformer(**config | {"layout_classes": CLASSES}), std=0.05).eval()
    torch.manual_seed(0)
    planner = LayoutPlanner(16, CLASSES, width=8, num_heads=2, num_layers=1).eval()
    planner.leave[-1].bias.data += 1.0  # somebody is there
    parts = tiny_pipeline.components | {"transformer": told, "planner": planner}
    return SkyReelsV4Pipeline(**parts, steps=3)


def seen_by(pipeline: SkyReelsV4Pipeline, *args, **kwargs) -> tuple:
    """What the transformer was called with at the first step: (video, audio, ...)."""
    seen = []
    hook = pipeline.transformer.register_forward_pre_hook(lambda _, args: seen.append(args))
    pipeline(*args, **kwargs, num_frames=9, height=32, width=48, output_type="latent")
    hook.remove()
    return seen[0]


def test_layouts_are_planned_once_and_told_to_both_streams_beside_the_prompt(planned):
    video, audio, *_ = seen_by(planned, ["a red ball", "a blue box"], seed=[3, 4])
    for state in (video, audio):
        with_prompt, with_negative, apart = state.layout_BNK.chunk(3)
        assert torch.equal(apart, with_prompt) and with_prompt.any() and not with_negative.any()
    assert video.layout_BNK.shape == (6, 3 * 2 * 3, seen_numbers(CLASSES) + 1)
    assert audio.layout_BNK.shape == (6, 9, heard_numbers(CLASSES) + 1)
    alone, *_ = seen_by(planned, "a blue box", seed=4)
    assert_close(alone.layout_BNK[0], video.layout_BNK[1])
    other, *_ = seen_by(planned, "a blue box", seed=5)
    assert not torch.equal(other.layout_BNK, alone.layout_BNK)


def test_without_a_reader_nothing_is_planned_beside_pictures_and_where_frames_are_painted_into(planned):
    black = torch.zeros(9, 32, 48, 3, dtype=torch.uint8)
    keep = torch.zeros(9, 32, 48, dtype=torch.bool)
    keep[:, :16] = True
    for given in (Given(frames_THWC=black, keep_THW=keep), Given(pictures=(black[:1],))):
        video, audio, *_ = seen_by(planned, "a red ball", given=given)
        assert video.layout_BNK is None and audio.layout_BNK is None
    video, *_ = seen_by(planned, "a red ball", given=Given(sounds=(torch.zeros(3_000),)))
    assert video.layout_BNK is not None


FRAMES = torch.arange(9 * 32 * 48 * 3, dtype=torch.int64).mul(7919).remainder(251).to(torch.uint8).view(9, 32, 48, 3)


@pytest.fixture
def reading(planned) -> SkyReelsV4Pipeline:
    """The same with a reader."""
    torch.manual_seed(1)
    reader = LayoutReader(4, 3, CLASSES, width=8, num_heads=2, num_layers=1).eval()
    return SkyReelsV4Pipeline(**planned.components | {"reader": reader}, steps=3)


def shown_to_planner(pipeline: SkyReelsV4Pipeline, given: Given | list[Given], monkeypatch) -> tuple[list, int]:
    """The layouts that planning was shown, and how many of these it follows."""
    seen, plan = [], type(pipeline.planner).plan

    def watched(*args, **named):
        seen.append((named["shown"], named["followed"]))
        return plan(*args, **named)

    monkeypatch.setattr(type(pipeline.planner), "plan", watched)
    prompts = ["a red ball"] * (len(given) if isinstance(given, list) else 1)
    video, *_ = seen_by(pipeline, prompts, given=given)
    assert video.layout_BNK is not None
    monkeypatch.undo()
    return seen[0]


def test_all_that_is_given_to_look_at_is_read_in_order(reading, monkeypatch):
    codec, reader = reading.video_codec, reading.reader
    still, clip, source = FRAMES[:1], 250 - FRAMES[:5], FRAMES // 2
    read = lambda frames: reader.read(codec.encode(frames[None]), codec.shape(*frames.shape[:3], 16))  # noqa: E731
    keep = torch.zeros(9, 32, 48, dtype=torch.bool)
    keep[:, :16] = True
    painted = {"frames_THWC": source, "keep_THW": keep}
    sound = torch.sin(torch.arange(9_000) / 9.0)
    heard = reader.hear(reading.audio_codec.encode(sound[None]), 3)
    first = torch.zeros(9, 32, 48, dtype=torch.bool)
    first[0] = True
    begun = torch.nn.functional.pad(read(source[:1]), (0, 0, 0, 2))
    for given, expected, follows in (
        (Given(), [], 0),
        (Given(pictures=(still, clip)), [read(still), read(clip)], 0),
        (Given(pictures=(still, source)), [read(still), read(source)], 1),  # as long as what is made
        (Given(pictures=(still, source), source_THWC=source), [read(still), read(source)], 1),
        (Given(pictures=(still,), source_THWC=source, **painted), [read(still), read(source)], 1),
        (Given(picture_THWC=source), [read(source)], 1),
        (Given(sound_S=sound), [heard], 1),
        (Given(frames_THWC=source, keep_THW=first, sound_S=sound), [begun, heard], 2),
    ):
        found, followed = shown_to_planner(reading, given, monkeypatch)
        assert followed == follows
        assert [tuple(each.shape) for each in found] == [tuple(each.shape) for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_of_kept_frames_those_are_read_that_are_whole_from_the_first_on(reading, monkeypatch):
    codec, given, expected = reading.video_codec, [], []
    for kept in (slice(0, 5), slice(0, 7), slice(0, 1), slice(3, 9), slice(0, 9)):
        keep = torch.zeros(9, 32, 48, dtype=torch.bool)
        keep[kept] = True
        given.append(Given(frames_THWC=FRAMES, keep_THW=keep))
        whole = 4 * ((kept.stop - 1) // 4) + 1 if kept.start == 0 else 0
        layout = torch.zeros(1, 2, 3, layout_numbers(CLASSES))
        if whole:
            latents, shape = codec.encode(FRAMES[None, :whole]), codec.shape(whole, 32, 48, 16)
            layout[:, :, : shape.latent_frames] = reading.reader.read(latents, shape)
        expected.append(layout)
    (found,), followed = shown_to_planner(reading, given, monkeypatch)
    assert followed == 1
    assert_close(found, torch.cat(expected), atol=1e-4, rtol=1e-4)


def test_a_reader_fits_its_pipeline(reading, tmp_path):
    reading.save_pretrained(tmp_path)
    loaded = SkyReelsV4Pipeline.from_pretrained(tmp_path)
    sizes = {"num_frames": 5, "height": 16, "width": 16, "output_type": "latent"}
    given = Given(pictures=(FRAMES[:1, :16, :16],))
    made = [pipeline("a red ball", given=given, **sizes).frames for pipeline in (loaded, reading)]
    assert_close(*made, atol=1e-4, rtol=1e-4)
    other = LayoutReader(4, 3, (5, 5), width=8, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match=r"reader's layouts have .* classes"):
        SkyReelsV4Pipeline(**reading.components | {"reader": other})
    wide = LayoutReader(6, 3, CLASSES, width=8, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match=r"give \(4, 3\) channels, and the reader was made for \(6, 3\)"):
        SkyReelsV4Pipeline(**reading.components | {"reader": wide})


def test_plans_go_by_the_frames_the_picture_and_the_sound_that_are_given(planned):
    """A clip's own noise and prompt stay as they are; another given one makes another plan."""
    frames, keep = FRAMES, torch.zeros(9, 32, 48, dtype=torch.bool)
    keep[0] = True
    sound = torch.sin(torch.arange(9_000) / 9.0)
    planned.planner.leave[-1].bias.data.view(17, -1)[:, 0] = 3.0  # somebody is there
    plans = []
    for given in (
        Given(),
        Given(frames_THWC=frames, keep_THW=keep),
        Given(frames_THWC=255 - frames, keep_THW=keep),
        Given(picture_THWC=frames),
        Given(sound_S=sound),
        Given(sound_S=sound.flip(0)),
    ):
        video, audio, *_ = seen_by(planned, "a red ball", seed=7, given=given)
        assert video.layout_BNK is not None and audio.layout_BNK is not None
        plans.append(video.layout_BNK[0])
    same = [(i, j) for i, a in enumerate(plans) for j, b in enumerate(plans[:i]) if torch.allclose(a, b)]
    assert same == []


def test_nothing_is_planned_for_sound_alone_and_for_clips_longer_than_plans(planned):
    _, audio, *_ = seen_by(planned, "a red ball", video=False)
    assert audio.layout_BNK is None
    longest = {"height": 16, "width": 16, "audio": False, "output_type": "latent", "num_inference_steps": 1}
    seen = []
    hook = planned.transformer.register_forward_pre_hook(lambda _, args: seen.append(args[0].layout_BNK))
    for frames in (65, 69):
        planned("a red ball", num_frames=frames, **longest)
    hook.remove()
    assert seen[0] is not None and seen[-1] is None


def test_guidance_beside_a_layout_is_its_own(planned):
    sizes = {"num_frames": 5, "height": 16, "width": 16, "output_type": "latent"}
    black = Given(pictures=(torch.zeros(1, 16, 16, 3, dtype=torch.uint8),))
    told, untold = ({"prompt": "a red ball", **sizes, **more} for more in ({}, {"given": black}))
    before = [planned(**each).frames for each in (told, untold)]
    at_two = planned(**told, guidance_scale=2.0).frames
    planned.register_to_config(planned_guidance=[2.0, planned.config.cross_modal_guidance])
    assert torch.equal(planned(**told).frames, at_two) and not torch.equal(at_two, before[0])
    assert torch.equal(planned(**untold).frames, before[1])
    assert torch.equal(planned(**told, guidance_scale=3.0).frames, before[0])


def test_a_planner_travels_with_its_pipeline_and_fits_it(planned, tiny_pipeline, tmp_path):
    planned.save_pretrained(tmp_path / "planned")
    loaded = SkyReelsV4Pipeline.from_pretrained(tmp_path / "planned")
    sizes = {"num_frames": 5, "height": 16, "width": 16, "output_type": "latent"}
    # Rounding depends on where in memory weights lie, which a file aligns otherwise.
    assert_close(loaded("a red ball", **sizes).frames, planned("a red ball", **sizes).frames)
    with pytest.raises(ValueError, match=r"classes.*None"):
        SkyReelsV4Pipeline(**tiny_pipeline.components | {"planner": planned.planner})
    wide = LayoutPlanner(32, CLASSES, width=8, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match="16 channels, and the planner was made for 32"):
        SkyReelsV4Pipeline(**planned.components | {"planner": wide})


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_one_modality_alone(tiny_pipeline, video, audio):
    made = tiny_pipeline("a red ball", num_frames=5, height=16, width=16, video=video, audio=audio)
    assert (made.frames is not None, made.audio is not None) == (video, audio)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_clip(tiny_pipeline):
    sizes = {"num_frames": 5, "height": 16, "width": 16, "output_type": "latent"}
    first, again, other = (tiny_pipeline("a red ball", seed=seed, **sizes) for seed in (7, 7, 8))
    assert torch.equal(first.frames, again.frames) and torch.equal(first.audio, again.audio)
    assert not torch.equal(first.frames, other.frames) and not torch.equal(first.audio, other.audio)


def test_the_prompt_and_the_negative_prompt_matter(tiny_pipeline):
    sizes = {"num_frames": 5, "height": 16, "width": 16, "output_type": "latent"}
    plain = tiny_pipeline("a red ball", **sizes).frames
    assert not torch.equal(plain, tiny_pipeline("bounces", **sizes).frames)
    assert not torch.equal(plain, tiny_pipeline("a red ball", negative_prompt="bounces", **sizes).frames)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"frames_THWC": torch.zeros(5, 16, 16, 3, dtype=torch.uint8)}, "belong together"),
        ({"picture_THWC": torch.zeros(9, 16, 16, 3, dtype=torch.uint8)}, "picture_THWC must be of"),
        ({"sound_S": torch.zeros(100)}, "sound_S must have 5,000 samples, not 100"),
    ],
)
def test_what_is_given_has_the_clips_size(tiny_pipeline, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny_pipeline("a red ball", num_frames=5, height=16, width=16, given=Given(**given))


def test_what_is_given_whole_comes_out_bit_for_bit(tiny_pipeline):
    sizes = {"num_frames": 5, "height": 16, "width": 16}
    sound, picture = torch.rand(5_000) - 0.5, torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(tiny_pipeline("a ball", given=Given(sound_S=sound), **sizes).audio[0], sound)
    assert torch.equal(tiny_pipeline("a ball", given=Given(picture_THWC=picture), **sizes).frames[0], picture)


def test_a_given_stream_takes_part(tiny_pipeline):
    with pytest.raises(ValueError, match="sound_S is given, and its stream is left out"):
        tiny_pipeline("a ball", num_frames=5, height=16, width=16, audio=False, given=Given(sound_S=torch.zeros(5_000)))


@pytest.mark.parametrize("sizes", [{"num_frames": 6}, {"height": 40}, {"width": 8}])
def test_sizes_the_codec_cannot_take_are_refused(tiny_pipeline, sizes):
    with pytest.raises(ValueError, match=r"4k\+1"):
        tiny_pipeline("a red ball", **sizes)


def test_save_and_load_as_a_diffusers_folder(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    again = SkyReelsV4Pipeline.from_pretrained(tmp_path)
    sizes = {"num_frames": 5, "height": 16, "width": 16}
    one, two = tiny_pipeline("a red ball", **sizes), again("a red ball", **sizes)
    assert torch.equal(one.frames, two.frames) and torch.equal(one.audio, two.audio)
    assert again.config.steps == 3


def test_the_weight_hash_follows_the_weights(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    before = hash_folder(tmp_path)
    assert before == hash_folder(tmp_path)
    path = next(tmp_path.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert hash_folder(tmp_path) != before


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_clip_has_exactly_the_size_and_length_asked_for(reel, aspect):
    clip = reel(BALL.model_copy(update={"aspect": aspect, "duration": 1.3}))
    height, width = clip.frames.shape[1:3]
    assert min(height, width) == 64 and width / height == pytest.approx(float(ASPECTS[aspect]), rel=0.02)
    assert len(clip.frames) == round(1.3 * 16)
    assert abs(clip.audio.shape[1] / clip.sample_rate - len(clip.frames) / 16) < 1e-3


def test_progress_counts_every_step_and_may_interrupt(reel):
    seen = []
    reel(BALL, lambda step, total: seen.append((step, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(step, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reel(BALL, stop)


def test_a_batch_is_its_single_clips_up_to_rounding(reel):
    requests = [BALL.model_copy(update={"seed": seed, "duration": d}) for seed, d in ((0, 1.0), (1, 1.3), (2, 1.0))]
    clips = reel.generate_batch(requests)
    assert not np.array_equal(clips[0].frames, clips[2].frames)  # of other seeds
    for one, request in zip(clips, requests, strict=True):
        alone = reel(request)
        assert one.frames.shape == alone.frames.shape
        assert np.abs(one.frames.astype(int) - alone.frames).max() <= 1
        np.testing.assert_allclose(one.audio, alone.audio, atol=1e-3)


def test_what_the_model_cannot_do_is_refused_before_it_runs(reel):
    reel.capabilities = replace(POCKET, tasks=("t2v",))
    with pytest.raises(RequestError, match="t2v"):
        reel(BALL)


def test_registry():
    assert [card.name for card in available()] == ["pocket"]
    assert find("pocket").name == "pocket" and find("owner/name") == "owner/name"
    with pytest.raises(RequestError, match="model must be one of pocket"):
        find("no-such-model")
    for path in ("/no/such/folder", "./no/folder", "runs/no/folder"):
        with pytest.raises(RequestError, match="a folder or a hub id"):
            find(path)


def test_cached_steps_are_stored_and_change_the_clip(reel):
    plain, cached = reel(BALL.model_copy(update={"steps": 8})), reel(BALL.model_copy(update={"steps": 8, "cache": 3}))
    assert not np.array_equal(plain.frames, cached.frames)
    assert '"cache"' in str(cached.metadata) and '"cache"' not in str(plain.metadata)


@pytest.mark.parametrize(("share", "where"), [(2.0, "resident"), (1.2, "offload"), (0.5, "group")])
def test_components_are_placed_by_their_sizes(tiny_pipeline, share, where):
    parts = [part for part in tiny_pipeline.components.values() if isinstance(part, torch.nn.Module)]
    total = sum(p.numel() * p.element_size() for part in parts for p in part.parameters())
    assert placement_by_size(tiny_pipeline, share * total).where == where


def test_eight_bit_weights_make_nearly_the_same_clip(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    eighth = SkyReelsV4Pipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    apply_placement(eighth, Placement(weights="fp8"), "cpu")
    inner = eighth.transformer.layers[0].video.stream.to_qkv.weight
    assert inner.dtype == torch.float8_e4m3fn
    shown = [each("a red ball", num_frames=5, height=16, width=16).frames.float() for each in (tiny_pipeline, eighth)]
    assert (shown[0] - shown[1]).abs().mean() < 8
