"""Talking avatars, on tiny random weights of the real classes."""

import copy

import numpy as np
import pytest
import torch
from accelerate.hooks import CpuOffload, UserCpuOffloadHook
from PIL import Image

from openreels.encoders.clip_image import ClipImageEncoder
from openreels.media import Clip
from openreels.models.wan_audio import audio_windows
from openreels.pipelines.v3 import passes, sizes
from openreels.pipelines.v3.avatar import SEGMENT_PROMPT
from openreels.pipelines.v3.colour import match_each_frame
from openreels.pipelines.v3.images import BILINEAR, cover
from openreels.pipelines.v3.speakers import Speaker

# Windows of 17 frames: strides of 8, so that 30 frames take three passes after the key frames.
SHORT = {"window_frames": 17, "motion_frames": 5, "drop_frames": 4}
QUICK = {"num_inference_steps": 1, "height": 16, "width": 32} | SHORT


@pytest.fixture
def base(make):
    return {"image": make.picture(40, 60), "prompt_embeds": make.embeds(5)} | QUICK


def written_out(pipeline, portrait, features, text, segment_text, seed, steps, shift=11.0):
    """The official loop as its description says: 30 frames of sound, three segments."""
    vae, model = pipeline.vae, pipeline.transformer
    mean, std = (torch.tensor(vae.config[n]).view(1, 16, 1, 1, 1) for n in ("latents_mean", "latents_std"))
    see = ClipImageEncoder(pipeline.image_encoder)
    generator = torch.Generator().manual_seed(seed)
    features = torch.cat([features, features[-3:].flip(0)])  # 30 frames padded to 17 + 2 * 8
    u = torch.cat([torch.linspace(1000, 1, steps), torch.zeros(1)]) / 1000
    times = shift * u / (1 + (shift - 1) * u) * 1000

    def one(given, ends, start, context, motion):
        m = given.shape[2]
        x = torch.randn(16, 5, 2, 4, generator=generator)[None]
        flags = torch.zeros(1, 17, 2, 4)
        flags[:, :m] = 1
        flags[:, 17 - ends.shape[2] :] = 1
        flags = torch.cat([flags[:, :1].repeat_interleave(4, 1), flags[:, 1:]], 1).view(1, 5, 4, 2, 4).transpose(1, 2)
        pixels = torch.cat([given, torch.zeros(1, 3, 17 - m - ends.shape[2], 16, 32), ends], 2)
        y = (vae.encode(pixels).latent_dist.mode() - mean) / std
        known, image = y[:, :, :2], see(given[:, :, 0])
        sound = audio_windows(features, 5, start, 17)[None, None]

        def hold(x, t):
            t = t / 1000
            return torch.cat([(1 - t) * known + t * torch.randn(known.shape, generator=generator), x[:, :, 2:]], 2)

        x = hold(x, times[0]) if motion else x
        for i in range(steps):
            v = model(torch.cat([x, flags, y], 1), times[i : i + 1], context, encoder_hidden_states_image=image,
                      audio_hidden_states=sound).sample  # fmt: skip
            x = x + -v * ((times[i] - times[i + 1]) / 1000)
            x = hold(x, times[i + 1]) if motion else x
        return x

    def show(x):
        return match_each_frame(vae.decode(x * std + mean, return_dict=False)[0], portrait)

    def levels(video):
        return ((video + 1) * 127.5).clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 3, 0).numpy()

    none = torch.zeros(1, 3, 0, 16, 32)
    latents = [one(portrait, none, 0, text, False)]
    keys, given, parts = show(latents[0])[:, :, [8, 12, 16]], portrait, []  # ends 16, 24, 32 of 32 on 0..16
    for k in range(3):
        end = keys[:, :, k : k + 1].repeat(1, 1, 5, 1, 1)
        latents.append(one(given, end, 8 * k, segment_text, k > 0))
        video = show(latents[-1])[:, :, : 17 - (4 if k < 2 else 0)]
        parts.append(levels(video[:, :, 5 if k else 0 :]))
        given = video[:, :, -5:]
    return torch.cat(latents), np.concatenate(parts)[:30]


@torch.no_grad()
def test_official_mode_equals_the_loop_written_out(a2v, make, base):
    features, segment = make.features(30), make.embeds(4, 11)
    picture = cover(Image.fromarray(base["image"]), 16, 32, BILINEAR)
    portrait = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None, :, None] / 255 - 0.5) * 2
    latents, frames = written_out(a2v, portrait, features, base["prompt_embeds"], segment, seed=5, steps=4)
    wish = base | {"num_inference_steps": 4, "audio_embeds": features, "segment_prompt_embeds": segment}
    made = a2v(**wish, official=True, seed=5)
    assert made.frames.shape == (1, 30, 16, 32, 3) and made.fps == 25
    assert np.abs(made.frames[0].astype(int) - frames).max() <= 1
    generator = torch.Generator().manual_seed(5)
    got = a2v(**wish, official=True, generator=generator, output_type="latent").frames
    assert got.shape == (4, 16, 5, 2, 4) and (got - latents).abs().max() < 1e-4


def test_official_mode_of_a_short_sound_is_the_key_frame_pass(a2v, make, base):
    made = a2v(**base, audio_embeds=make.features(12), official=True)
    assert made.frames.shape == (1, 12, 16, 32, 3) and made.audio is None
    latents = a2v(**base, audio_embeds=make.features(12), official=True, output_type="latent").frames
    assert latents.shape == (1, 16, 5, 2, 4)
    # Exactly one window: the release draws a second pass, which ends on a frozen key frame. Ours does not.
    assert len(a2v(**base, audio_embeds=make.features(17), official=True, output_type="latent").frames) == 2
    assert len(a2v(**base, audio_embeds=make.features(17), output_type="latent").frames) == 1


def test_fewer_text_tokens_are_padded_with_zeros(a2v, make, base):
    short = base | {"prompt_embeds": base["prompt_embeds"][0, :5]}
    features = make.features(10)
    one, two = (a2v(**wish, audio_embeds=features, output_type="latent").frames for wish in (base, short))
    assert torch.equal(one, two)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_sound_of_any_rate_becomes_a_video_with_that_sound(a2v, make, base, rate, channels):
    sound = make.tone(0.5, rate, channels)
    made = a2v(audio=sound, audio_sample_rate=rate, **base)
    assert made.frames.shape == (1, 13, 16, 32, 3)  # 12.5 frames
    assert made.sample_rate == rate and made.audio.shape == (channels, round(13 / 25 * rate))
    assert np.array_equal(made.audio[:, : sound.shape[1]], sound)
    official = a2v(audio=sound, audio_sample_rate=rate, **base, official=True)
    assert official.sample_rate == 16_000 and official.audio.shape == (1, 8_000)


def test_clips_and_files_are_heard(a2v, make, base, tmp_path):
    clip = Clip(audio=make.tone(0.4), sample_rate=16_000)
    path = clip.save(tmp_path / "voice.wav")
    first = a2v(audio=clip, **base)
    assert np.abs(first.frames.astype(int) - a2v(audio=path, **base).frames).max() <= 2  # 16 bit
    first.clip.save(tmp_path / "avatar.mp4")
    assert len(Clip.open(tmp_path / "avatar.mp4").frames) == 10


def test_silence_works(a2v, make, base):
    made = a2v(audio=np.zeros(8_000, np.float32), audio_sample_rate=16_000, **base)
    assert made.frames.shape[1] == 13 and not made.audio.any()


def test_the_sound_matters(a2v, make, base):
    one, two = (
        a2v(audio=make.tone(0.5, frequency=f), audio_sample_rate=16_000, **base, output_type="latent").frames
        for f in (200, 900)
    )
    assert not torch.allclose(one, two, atol=1e-4)


def test_the_users_prompt_is_heard_by_every_segment(a2v, make, base, monkeypatch):
    told, forward = [], a2v.transformer.forward
    monkeypatch.setattr(
        a2v.transformer, "forward", lambda x, t, text, **k: told.append(text) or forward(x, t, text, **k)
    )
    text = base.pop("prompt_embeds")
    a2v(**base, prompt_embeds=text, audio_embeds=make.features(19), output_type="latent")
    assert len(told) == 3 and all(torch.equal(each, text) for each in told)
    told.clear()
    a2v(**base, prompt_embeds=text, audio_embeds=make.features(19), official=True, output_type="latent")
    fixed = a2v.encode_text(SEGMENT_PROMPT, None)
    assert torch.equal(told[0], text) and all(torch.equal(each, fixed) for each in told[1:])


def test_a_long_avatar_has_key_frames_of_its_own_every_eight_passes(a2v, make, base, monkeypatch):
    starts, one_pass = [], passes.AvatarPasses.one_pass
    monkeypatch.setattr(
        passes.AvatarPasses,
        "one_pass",
        lambda s, g, e, first, *a: starts.append((e is None, first)) or one_pass(s, g, e, first, *a),
    )
    brief = base | {"window_frames": 9, "motion_frames": 1, "drop_frames": 0, "audio_embeds": make.features(70)}
    a2v(**brief, output_type="latent")
    assert [first for key, first in starts if key] == [0, 40]  # 9 passes: 5 and 4
    assert [first for key, first in starts if not key] == list(range(0, 72, 8))
    starts.clear()
    a2v(**brief, official=True, output_type="latent", segment_prompt="talking")
    assert [first for key, first in starts if key] == [0]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("official", [False, True])
def test_an_interrupted_avatar_goes_on_and_gives_the_same_bits(a2v, make, base, tmp_path, official):
    wish = base | {"num_inference_steps": 2, "audio_embeds": make.features(30), "official": official, "seed": 8}
    whole = a2v(**wish).frames
    seen, parts = [], []

    def stop(done, total):
        seen.append(done)
        if done == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        a2v(**wish, work=tmp_path / "work", progress=stop)
    kept = sorted(path.name for path in (tmp_path / "work").glob("*/*"))
    assert kept == ["key-00.safetensors", "segment-000.safetensors"]
    seen.clear()
    again = a2v(
        **wish, work=tmp_path / "work", progress=lambda *a: seen.append(a), on_segment=lambda *a: parts.append(a)
    ).frames
    assert np.array_equal(again, whole)
    total = seen[-1][1]
    assert seen[:3] == [(2, total), (4, total), (5, total)] and seen[-1] == (total, total)  # the rest was drawn
    assert [index for index, _, _ in parts] == list(range(parts[0][1]))
    assert np.array_equal(np.concatenate([frames for _, _, frames in parts])[:30], whole[0])
    seen.clear()
    assert np.array_equal(a2v(**wish, work=tmp_path / "work", progress=lambda *a: seen.append(a)).frames, whole)
    assert len(seen) == total // 2  # everything was there


def test_the_work_of_another_request_is_not_taken(a2v, make, base, tmp_path):
    features = make.features(10)
    a2v(**base, audio_embeds=features, work=tmp_path, output_type="latent")
    (first,) = tmp_path.iterdir()
    for change in ({"seed": 1}, {"audio_embeds": make.features(10, seed=7)}, {"shift": 5.0}):
        wish = {"audio_embeds": features} | base | change
        made = a2v(**wish, work=tmp_path, output_type="latent").frames
        assert torch.equal(made, a2v(**wish, output_type="latent").frames)
    assert len(list(tmp_path.iterdir())) == 4
    (first / "key-00.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="damaged; delete it"):
        a2v(**base, audio_embeds=features, work=tmp_path)


def test_two_speakers_have_a_voice_and_a_place_each(a2v, make, base):
    base |= {"height": 32, "width": 48}
    left, right = make.tone(0.5), make.tone(0.4, 22_050, frequency=500.0)
    two = [
        Speaker(left, 16_000, region=(0, 0, 0.4, 1)),
        Speaker(right, 22_050, region=(0.6, 0, 1, 1), start=0.2),
    ]
    made = a2v(audio=two, **base)
    assert made.frames.shape[1] == 15 and made.sample_rate == 22_050  # 0.6 s
    assert made.audio.shape == (1, round(0.6 * 22_050))

    def latents(*speakers):
        return a2v(audio=list(speakers), **base, output_type="latent").frames

    mask = np.zeros((40, 60), bool)
    mask[:, :24] = True
    same = latents(Speaker(left, 16_000, mask=mask), Speaker(right, 22_050, mask=mask[:, ::-1], start=0.2))
    assert torch.equal(same, latents(*two))
    elsewhere = Speaker(left, 16_000, region=(0, 0.5, 0.2, 1))
    assert not torch.allclose(same, latents(elsewhere, two[1]), atol=1e-4)
    strips = latents(Speaker(left, 16_000), Speaker(right, 22_050, start=0.2))
    assert torch.isfinite(strips).all()


def test_guidance_by_text_and_by_sound(a2v, make, base, monkeypatch):
    calls, forward = [], a2v.transformer.forward
    monkeypatch.setattr(a2v.transformer, "forward", lambda *a, **k: calls.append(k) or forward(*a, **k))
    outcomes, counts = [], []
    for text, audio in ((1, 1), (3, 1), (1, 3), (3, 3)):
        calls.clear()
        outcomes.append(
            a2v(**base, audio_embeds=make.features(10), guidance_scale=text, audio_guidance_scale=audio,
                official=True, output_type="latent").frames
        )  # fmt: skip
        counts.append(len(calls))
        silent = [not call["audio_hidden_states"].any() for call in calls]
        assert (
            silent
            == {(1, 1): [False], (3, 1): [False] * 2, (1, 3): [False, True], (3, 3): [False, False, True]}[text, audio]
        )
    assert counts == [1, 2, 2, 3]
    assert len({tuple(outcome.flatten()[:8].tolist()) for outcome in outcomes}) == 4


@pytest.mark.parametrize("resolution", ["480P", "540P", "720P"])
def test_every_resolution_has_sizes(a2v, make, base, resolution, monkeypatch):
    sizes_seen = []
    monkeypatch.setattr("openreels.pipelines.v3.avatar.check_masks", lambda m, c: sizes_seen.append(c.size) or stop())

    def stop():
        raise Interrupted

    wish = {key: value for key, value in base.items() if key not in ("height", "width")}
    with pytest.raises(Interrupted):
        a2v(**wish, audio_embeds=make.features(10), resolution=resolution)
    assert sizes_seen[0] in sizes.AVATAR_BUCKETS[resolution].values()


def test_a_prompt_is_not_needed(a2v, make, base):
    del base["prompt_embeds"]
    plain = a2v(**base, audio_embeds=make.features(10), output_type="latent").frames
    said = a2v(**base, prompt=SEGMENT_PROMPT, audio_embeds=make.features(10), output_type="latent").frames
    assert torch.equal(plain, said)


def test_another_rate_and_a_padded_portrait(a2v, make, base):
    made = a2v(**base, audio_embeds=make.features(10), fps=50, fit="pad")
    assert made.fps == 50 and made.frames.shape == (1, 20, 16, 24, 3)


def test_save_and_load(a2v, make, base, tmp_path):
    a2v.save_pretrained(tmp_path)
    again = type(a2v).from_pretrained(tmp_path)
    wish = base | {"audio": make.tone(0.4), "audio_sample_rate": 16_000, "output_type": "latent"}
    # Not bit for bit on every processor: products round by how their weights lie in memory.
    torch.testing.assert_close(again(**wish).frames, a2v(**wish).frames, atol=1e-4, rtol=1e-4)


def test_offloaded_components_give_the_same_bits(a2v, make, base):
    wish = base | {"audio": make.tone(0.7), "audio_sample_rate": 16_000, "prompt": "talking"}
    del wish["prompt_embeds"]
    expected = a2v(**wish).frames
    offloaded = type(a2v)(**a2v.components)
    try:
        offloaded.enable_model_cpu_offload(device="cpu")
        assert np.array_equal(offloaded(**wish).frames, expected)
    finally:
        offloaded.remove_all_hooks()


def test_offloaded_components_are_on_the_device_one_at_a_time(a2v, make, base, monkeypatch):
    """But for the autoencoder, which is small and works between the others."""
    offloaded, present, seen = type(a2v)(**a2v.components), set(), set()
    names = {id(part): name for name, part in a2v.components.items()}
    come, go = CpuOffload.pre_forward, UserCpuOffloadHook.offload

    def coming(self, module, *args, **kwargs):
        if self.prev_module_hook is not None:  # accelerate sends this one away, of a device that is not the CPU
            present.discard(names[id(self.prev_module_hook.model)])
        present.add(names[id(module)])
        seen.add(frozenset(present - {"vae"}))
        return come(self, module, *args, **kwargs)

    def going(self):
        present.discard(names[id(self.model)])
        go(self)

    monkeypatch.setattr(CpuOffload, "pre_forward", coming)
    monkeypatch.setattr(UserCpuOffloadHook, "offload", going)
    wish = base | {"audio": make.tone(0.7), "audio_sample_rate": 16_000, "prompt": "talking", "guidance_scale": 2.0}
    del wish["prompt_embeds"]
    try:
        offloaded.enable_model_cpu_offload(device="cpu")
        offloaded(**wish, segment_prompt="nodding", output_type="latent")
    finally:
        offloaded.remove_all_hooks()
    alone = {"text_encoder", "audio_encoder", "image_encoder", "transformer"}
    assert seen - {frozenset()} == {frozenset({name}) for name in alone}


def test_an_image_encoder_of_half_precision(a2v, make, base):
    """As it is released, whatever the transformer has."""
    half = type(a2v)(**a2v.components | {"image_encoder": copy.deepcopy(a2v.image_encoder).half()})
    wish = base | {"audio_embeds": make.features(10), "output_type": "latent"}
    near, exact = half(**wish).frames, a2v(**wish).frames
    assert 0 < (near - exact).abs().max() < 0.1 * exact.abs().max()


HALF = {"region": (0, 0, 0.5, 1)}


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({}, "audio is missing"),
        ({"audio": np.zeros(6_000), "audio_sample_rate": 16_000}, "speaker 1 must last at least 0.4 s, not 0.38 s"),
        ({"audio": np.zeros(8_000)}, "needs audio_sample_rate"),
        ({"audio": np.zeros(201 * 100), "audio_sample_rate": 100}, "end by 200 s"),
        ({"audio": []}, "one sound, or a list of Speaker"),
        (
            {
                "audio": [
                    Speaker(np.zeros(8_000), 16_000, mask=np.ones((3, 3))),
                    Speaker(np.zeros(8_000), 16_000, **HALF),
                ]
            },
            "mask of speaker 1 is 3 x 3 pixels; the portrait has 60 x 40",
        ),
        ({"audio": [Speaker(np.zeros(8_000), 16_000, **HALF), Speaker(np.zeros(8_000), 16_000)]}, "speaker 2 needs a"),
        (
            {
                "audio": [
                    Speaker(np.zeros(8_000), 16_000, region=(0.5, 0, 0.5, 1)),
                    Speaker(np.zeros(8_000), 16_000, **HALF),
                ]
            },
            "fractions of the portrait",
        ),
        (
            {
                "audio": [
                    Speaker(np.zeros(8_000), 16_000, **HALF, mask=np.ones((40, 60))),
                    Speaker(np.zeros(8_000), 16_000, **HALF),
                ]
            },
            "a region or a mask, not both",
        ),
        (
            {
                "audio": [
                    Speaker(np.zeros(8_000), 16_000, mask=np.zeros((40, 60))),
                    Speaker(np.zeros(8_000), 16_000, **HALF),
                ]
            },
            "mask of speaker 1 is empty",
        ),
        (
            {
                "audio": [
                    Speaker(np.zeros(8_000), 16_000, region=(0, 0, 1, 0.05)),
                    Speaker(np.zeros(8_000), 16_000, **HALF),
                ]
            },
            "speaker 1 lies outside the picture",
        ),
        ({"audio": [Speaker(np.zeros(8_000), 16_000)] * 2, "official": True}, "official mode has one speaker"),
        ({"audio_embeds": torch.zeros(10, 3, 24)}, "audio_embeds must be"),
        ({"audio_embeds": torch.zeros(2, 10, 2, 24)}, "2 speakers, and audio names 0"),
        ({"audio_embeds": torch.full((10, 2, 24), float("nan"))}, "finite"),
        ({"audio_embeds": torch.zeros(5001, 2, 24)}, "at most 5000"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "image": 3}, "image must be a"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "prompt": "x"}, "either prompt or prompt_embeds"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "resolution": "1080P"}, "480P, 540P, 720P"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "window_frames": 16}, r"4n \+ 1"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "drop_frames": 12}, "too short"),
        ({"audio_embeds": torch.zeros(10, 2, 24), "official": True, "fps": 30}, "official mode draws 25 fps"),
    ],
)
def test_bad_wishes(a2v, base, wish, sentence):
    with pytest.raises(ValueError, match=sentence):
        a2v(**(base | wish))


def test_what_is_missing_is_named(a2v, make, base):
    bare = type(a2v)(a2v.transformer, a2v.vae, a2v.image_encoder)
    with pytest.raises(ValueError, match="no audio encoder: give audio_embeds"):
        bare(audio=make.tone(0.5), audio_sample_rate=16_000, **base)
    with pytest.raises(ValueError, match="needs segment_prompt_embeds"):
        bare(**base, audio_embeds=make.features(30), official=True)
    with pytest.raises(ValueError, match="guidance needs negative_prompt_embeds"):
        bare(**base, audio_embeds=make.features(10), guidance_scale=2.0)
    assert bare(**base, audio_embeds=make.features(10)).frames.shape[1] == 10
