"""References to video, on tiny random weights of the real classes."""

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from PIL import Image

from openreels.pipelines.v3.images import letterbox

QUICK = {"num_inference_steps": 2, "height": 32, "width": 48}


@pytest.fixture
def base(make):
    return {"references": [make.picture(40, 30), make.picture(20, 50, 1)], "prompt_embeds": make.embeds(7)} | QUICK


def plain_reference(pipeline, pictures, text, negative, frames, scale, image_scale, seed, steps=8, shift=5.0):
    """The official pipeline written out from its description with diffusers' own parts."""
    ours = pipeline.transformer.config
    names = ("num_attention_heads", "attention_head_dim", "text_dim", "freq_dim", "ffn_dim", "num_layers", "eps")
    network = WanTransformer3DModel(**{name: ours[name] for name in names}, in_channels=16, out_channels=16)
    network.load_state_dict(pipeline.transformer.state_dict())
    vae, generator = pipeline.vae, torch.Generator().manual_seed(seed)
    mean, std = (torch.tensor(vae.config[n]).view(1, 16, 1, 1, 1) for n in ("latents_mean", "latents_std"))
    x = torch.randn(1, 16, (frames - 1) // 4 + 1, 4, 6, generator=generator)
    slots = []
    for picture in pictures:
        pixels = torch.from_numpy(np.array(letterbox(Image.fromarray(picture), 32, 48, official=True)))
        pixels = (pixels.permute(2, 0, 1)[None, :, None] / 255 - 0.5) / 0.5
        slots.append((vae.encode(pixels).latent_dist.sample(generator) - mean) / std)
    slots = torch.cat(slots + [torch.zeros_like(slots[0])] * (4 - len(slots)), dim=2)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(0.999, 0, steps + 1)[:-1])
    for t in scheduler.timesteps:

        def v(context, references, x=x, t=t):
            return network(torch.cat([x, references], 2), t.expand(1), context, return_dict=False)[0][
                :, :, : x.shape[2]
            ]

        predicted = v(text, slots)
        if scale > 1:
            by_image, none = v(negative, slots), v(negative, torch.zeros_like(slots))
            predicted = none + image_scale * (by_image - none) + scale * (predicted - by_image)
        x = scheduler.step(predicted, t, x, return_dict=False)[0]
    video = (vae.decode(x * std + mean, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)
    return x, (video * 255).round().to(torch.uint8)[0].permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize(("scale", "image_scale"), [(1.0, 1.0), (4.0, 3.0)])
@torch.no_grad()
def test_official_mode_equals_the_pipeline_written_out_with_diffusers_parts(r2v, make, scale, image_scale):
    pictures, text, negative = [make.picture(40, 30), make.picture(20, 50, 1)], make.embeds(9), make.embeds(3, seed=8)
    latents, frames = plain_reference(r2v, pictures, text, negative, 9, scale, image_scale, seed=3)
    arguments = {"prompt_embeds": text, "negative_prompt_embeds": negative, "num_frames": 9, "height": 32, "width": 48}
    arguments |= {"guidance_scale": scale, "image_guidance_scale": image_scale, "official": True}
    got = r2v(pictures, **arguments, generator=torch.Generator().manual_seed(3), output_type="latent").frames
    assert (got - latents).abs().max() < 1e-4
    made = r2v(pictures, **arguments, seed=3).frames
    assert made.shape == (1, 9, 32, 48, 3) and np.abs(made[0].astype(int) - frames).max() <= 1


def test_lengths(r2v, base):
    assert r2v(**base, duration=0.3).frames.shape == (1, 7, 32, 48, 3)  # 7.2 frames, of 9 drawn
    assert r2v(**base, num_frames=3).frames.shape[1] == 3
    made = r2v(**base, duration=0.25, fps=30)
    assert made.frames.shape[1] == 8 and made.fps == 30
    assert r2v(**base, num_frames=6, output_type="latent", official=True).frames.shape == (1, 16, 2, 4, 6)


def test_output_types(r2v, base):
    frames = r2v(**base, num_frames=5)
    pictures = r2v(**base, num_frames=5, output_type="pil")
    latents = r2v(**base, num_frames=5, output_type="latent")
    assert frames.frames.dtype == np.uint8
    assert len(pictures.frames[0]) == 5 and pictures.frames[0][0].size == (48, 32)
    assert np.array_equal(frames.clip.frames, pictures.clip.frames) and frames.clip.fps == 24
    assert latents.frames.shape == (1, 16, 2, 4, 6) and latents.frames.dtype == torch.float32
    with pytest.raises(ValueError, match="no clip yet"):
        latents.clip  # noqa: B018


def test_the_same_seed_gives_the_same_bits(r2v, base):
    first, again, other = (r2v(**base, num_frames=5, seed=seed).frames for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first, r2v(**base, num_frames=5, seed=2**32 + 1).frames)


def test_a_prompt_is_what_its_embeddings_are(r2v, base, make):
    del base["prompt_embeds"]
    text = r2v.encode_text("a red ball", None)
    assert text.shape == (1, 512, 24) and not text[:, 20:].any()
    spoken = r2v(**base, prompt="a red ball", num_frames=5).frames
    assert np.array_equal(spoken, r2v(**base, prompt_embeds=text, num_frames=5).frames)
    assert not np.array_equal(spoken, r2v(**base, prompt="a person", num_frames=5).frames)


def test_references_and_their_order_matter(r2v, base):
    one = r2v(**base, num_frames=5, output_type="latent").frames
    turned = base | {"references": base["references"][::-1]}
    fewer = base | {"references": base["references"][0]}
    for other in (turned, fewer):
        assert not torch.allclose(one, r2v(**other, num_frames=5, output_type="latent").frames, atol=1e-4)


def test_guidance_evaluates_only_what_counts(r2v, base, make, monkeypatch):
    calls, forward = [], r2v.transformer.forward
    monkeypatch.setattr(r2v.transformer, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    counts = []
    for text, image in ((1, 1), (3, 1), (3, 3), (1, 2), (3, 2)):
        calls.clear()
        r2v(
            **base,
            num_frames=1,
            guidance_scale=text,
            image_guidance_scale=image,
            output_type="latent",
            negative_prompt_embeds=make.embeds(2, 3),
        )
        counts.append(len(calls) // 2)
    assert counts == [1, 2, 2, 3, 3]


def test_an_aspect_is_exact(r2v, base, monkeypatch):
    import openreels.pipelines.v3.sizes as sizes

    monkeypatch.setitem(sizes.BUCKETS["480P"], 0.75, (32, 48))  # a small stand-in for (544, 736)
    wish = {key: value for key, value in base.items() if key not in ("height", "width")}
    made = r2v(**wish, num_frames=1, resolution="480P", aspect="4:3")
    assert made.frames.shape == (1, 1, 32, 42, 3)  # 42.67, even


def test_progress_counts_steps_and_may_interrupt(r2v, base):
    seen = []
    r2v(**base, num_frames=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        r2v(**base, num_frames=1, progress=stop)


def test_save_and_load(r2v, base, tmp_path):
    r2v.save_pretrained(tmp_path)
    again = type(r2v).from_pretrained(tmp_path)
    assert np.array_equal(r2v(**base, num_frames=1).frames, again(**base, num_frames=1).frames)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"references": []}, "1 to 4 pictures, not 0"),
        ({"references": [np.zeros((4, 4, 3), np.uint8)] * 5}, "1 to 4 pictures, not 5"),
        ({"references": ["/none.png"]}, "reference 1 must be a picture file"),
        ({"prompt": "x"}, "either prompt or prompt_embeds"),
        ({"prompt_embeds": None}, "prompt is missing"),
        ({"prompt_embeds": None, "prompt": "  "}, "prompt must be a text that is not empty"),
        ({"prompt_embeds": torch.zeros(2, 3, 4)}, "must be \\(1, tokens, width\\)"),
        ({"duration": 5, "num_frames": 3}, "either duration or num_frames"),
        ({"duration": 0}, "duration must be"),
        ({"duration": float("nan")}, "duration must be"),
        ({"num_frames": 0}, "num_frames must be"),
        ({"official": True, "duration": 2.5}, "whole seconds"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"shift": 0}, "shift must be"),
        ({"guidance_scale": -1}, "guidance scales"),
        ({"output_type": "gif"}, "output_type must be"),
        ({"height": 30}, "multiples of 16"),
        ({"fps": float("inf")}, "fps must be"),
    ],
)
def test_bad_wishes(r2v, base, wish, sentence):
    with pytest.raises(ValueError, match=sentence):
        r2v(**(base | wish))


def test_a_pipeline_without_text_encoder_says_so(r2v, base):
    bare = type(r2v)(r2v.transformer, r2v.vae)
    assert bare(**base, num_frames=1).frames.shape[1] == 1
    with pytest.raises(ValueError, match="no text encoder: give prompt_embeds"):
        bare(**(base | {"prompt_embeds": None, "prompt": "a ball"}))
