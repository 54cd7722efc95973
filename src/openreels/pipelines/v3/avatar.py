"""Talking avatars: a portrait and what is said -> a video of up to 200 s.

A long avatar is made in overlapping passes. A *key-frame pass* animates the portrait freely; every further pass
begins with the last frames of the one before and ends on one of those key frames, so that faces stay themselves.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, L text tokens, D width, P speakers,
V video frames of the sound, Y speech layers, M masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel, Wav2Vec2Model

from openreels.encoders.clip_image import ClipImageEncoder
from openreels.encoders.wav2vec import Wav2VecEncoder
from openreels.media import Clip
from openreels.media.timing import frames_for
from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.audio import SAMPLE_RATE, Speech, official_speech, soundtrack, speech
from openreels.pipelines.v3.base import FACTOR, TEXT_TOKENS, Progress, Steps, V3Output, V3Pipeline
from openreels.pipelines.v3.images import (
    BILINEAR,
    Canvas,
    Picture,
    cover,
    filled,
    frames_of,
    official_picture,
    picture_of,
    pixels_of,
)
from openreels.pipelines.v3.passes import AvatarGuidance, AvatarPasses, OnSegment
from openreels.pipelines.v3.plans import (
    AVATAR_FPS,
    AVATAR_FRAMES,
    AvatarPlan,
    Segments,
    shown_frames,
    turned_tail,
)
from openreels.pipelines.v3.sizes import AVATAR_BUCKETS, pick_size
from openreels.pipelines.v3.speakers import Speaker, check_masks, masks_of, speakers_of
from openreels.pipelines.v3.work import WorkFolder
from openreels.request import RequestError

__all__ = ["NEGATIVE_PROMPT", "SEGMENT_PROMPT", "SkyReelsV3AvatarPipeline"]

# The release's own two texts, part of what official mode computes.
SEGMENT_PROMPT = "a person is talking"
NEGATIVE_PROMPT = (
    "bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, "
    "overall gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn "
    "hands, poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, "
    "three legs, many people in the background, walking backwards"
)


class SkyReelsV3AvatarPipeline(V3Pipeline):
    """SkyReels-V3-A2V.

    image_encoder: CLIP's image tower. audio_encoder: wav2vec2; may be None where features come as `audio_embeds`.
    Source of the official mode: shared/spec/v3.md, section 6.
    """

    model_cpu_offload_seq = "text_encoder->audio_encoder->image_encoder->transformer->vae"
    _optional_components: ClassVar[list[str]] = ["text_encoder", "tokenizer", "audio_encoder"]

    def __init__(
        self,
        transformer: SkyReelsV3Transformer,
        vae: AutoencoderKLWan,
        image_encoder: CLIPVisionModel,
        audio_encoder: Wav2Vec2Model | None = None,
        text_encoder: UMT5EncoderModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            vae=vae,
            image_encoder=image_encoder,
            audio_encoder=audio_encoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )

    @torch.no_grad()
    def __call__(
        self,
        image: Picture,
        audio: Clip | np.ndarray | Tensor | str | Path | Sequence[Speaker] | None = None,
        prompt: str | None = None,
        *,
        audio_sample_rate: int | None = None,
        audio_embeds: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt: str | None = None,
        negative_prompt_embeds: Tensor | None = None,
        segment_prompt: str | None = None,
        segment_prompt_embeds: Tensor | None = None,
        fps: Fraction | float = AVATAR_FPS,
        resolution: str = "720P",
        aspect: str | None = None,
        height: int | None = None,
        width: int | None = None,
        fit: str = "crop",
        num_inference_steps: int = 4,
        guidance_scale: float = 1.0,
        audio_guidance_scale: float = 1.0,
        shift: float = 11.0,
        window_frames: int = 81,
        motion_frames: int = 5,
        drop_frames: int = 12,
        work: Path | str | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        official: bool = False,
        output_type: str = "np",
        progress: Progress | None = None,
        on_segment: OnSegment | None = None,
    ) -> V3Output:
        """Make a portrait speak.

        image: the portrait. audio: what is said: a clip with sound, a file, samples (N,) or (C, N) at
        `audio_sample_rate`; or a list of `Speaker`, one for each person in the portrait. audio_embeds: speech features
        (V, Y, C) or (P, V, Y, C) at 25 rows a second instead of encoding `audio`, which is then only the sound track.
        prompt or prompt_embeds (1, L, D): default "a person is talking". segment_prompt: another one for all passes
        after the key frames. negative_prompt: default `NEGATIVE_PROMPT`; used where guidance_scale is not 1.
        fps: of the result; the model draws 25, other rates show the frame nearest in time. fit: how the portrait comes
        to the model's size, "crop" or "pad" (nothing lost; the padding is cut off again).
        window_frames, motion_frames, drop_frames: of a pass (see `Segments`).
        work: a folder that keeps finished passes; the same call again goes on where an interrupted one was, and gives
        the same bits. on_segment: called as on_segment(index, count, frames (T, H, W, 3) uint8) with each new part.
        Sizes, sampler, generator, official and progress: as in `SkyReelsV3ReferencePipeline`.
        Raises ValueError: one sentence on what is wrong, before anything is computed.
        """
        portrait = (official_picture if official else picture_of)(image, "image")
        speakers = [] if audio is None else speakers_of(audio, audio_sample_rate)
        speeches = [each.speech(f"the audio of speaker {i}") for i, each in enumerate(speakers, start=1)]
        self._check_sound(speakers, audio_embeds, official)
        if prompt is None and prompt_embeds is None and not official:
            prompt = SEGMENT_PROMPT
        guidance = AvatarGuidance(guidance_scale, audio_guidance_scale, official)
        self.check_text(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, guidance.by_text)
        self.check_sampler(num_inference_steps, shift, guidance_scale, audio_guidance_scale)
        self.check_output_type(output_type)
        fps = self.check_fps(fps)
        if official and (fps != AVATAR_FPS or fit != "crop"):
            raise RequestError(f"official mode draws {AVATAR_FPS} fps and crops the portrait, nothing else")
        size = pick_size(portrait.size[::-1], AVATAR_BUCKETS, resolution, aspect, height, width)
        canvas = Canvas.of(portrait.size[::-1], size, aspect, fit)
        masks_MHW = masks_of(speakers, portrait.size[::-1]) if speakers else None
        check_masks(masks_MHW, canvas)
        frames = self._frames(speeches, audio_embeds)
        plan = AvatarPlan.of(Segments(frames, window_frames, motion_frames, drop_frames), official)
        self._check_segment_prompt(plan, segment_prompt, segment_prompt_embeds, official)
        generator = self.generator_of(generator, seed)

        # All texts before the sound: with offloading the largest encoder comes to the device once.
        text_BLD = self._padded_text(prompt, prompt_embeds)
        segment_BLD = self._segment_text(text_BLD, plan, segment_prompt, segment_prompt_embeds, official)
        negative_BLD = self._negative_text(guidance, negative_prompt, negative_prompt_embeds)
        features_PVYC = self._features(speeches, audio_embeds, frames, official)
        if not plan.single:  # the last pass ends after the sound: it goes on with its own end, turned back
            features_PVYC = features_PVYC[:, turned_tail(frames, plan.segments.padded)]
        passes = AvatarPasses(
            transformer=self.transformer,
            codec=self.codec,
            image_encoder=ClipImageEncoder(self.image_encoder),
            plan=plan,
            portrait_BCTHW=self._portrait(portrait, canvas, official).to(self._execution_device),
            text_BLD=text_BLD,
            segment_BLD=segment_BLD,
            negative_BLD=negative_BLD,
            features_PVYC=features_PVYC,
            masks_MYX=None if masks_MHW is None else canvas.masks(masks_MHW, size[0] // FACTOR, size[1] // FACTOR),
            guidance=guidance,
            num_inference_steps=num_inference_steps,
            shift=shift,
            generator=generator,
            truncate=official,
        )
        folder = None if work is None else WorkFolder(work, passes.fingerprint())
        latents_SCFHW, parts = passes.draw(
            Steps(progress, num_inference_steps * plan.passes), folder, on_segment, output_type != "latent"
        )
        if output_type == "latent":
            return self.finish_latents(latents_SCFHW, AVATAR_FPS)
        shown = frames if official else frames_for(Fraction(frames, AVATAR_FPS), fps)
        frames_THWC = np.empty((shown, *(canvas.size if official else canvas.box[2:]), 3), np.uint8)
        picks = shown_frames(shown, fps, frames, AVATAR_FPS)
        filled(frames_THWC, frames_of(parts, picks, None if official else canvas))
        sound, rate = self._soundtrack(speeches, Fraction(frames, AVATAR_FPS), official)
        return self.finish(frames_THWC, fps, output_type, sound, rate)

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _check_sound(self, speakers: Sequence[Speaker], audio_embeds: Tensor | None, official: bool) -> None:
        """Raises ValueError unless there is sound that the network can use."""
        count = len(speakers)
        if audio_embeds is None:
            if not speakers:
                raise RequestError("audio is missing: give a sound, a list of Speaker, or audio_embeds")
            if self.audio_encoder is None:
                raise RequestError("this pipeline has no audio encoder: give audio_embeds")
        else:
            config = self.transformer.config
            expected = (config.audio_layers, config.audio_dim)
            if audio_embeds.ndim not in (3, 4) or audio_embeds.shape[-2:] != expected or 0 in audio_embeds.shape:
                raise RequestError(
                    f"audio_embeds must be (frames, {expected[0]}, {expected[1]}), or several of them stacked, "
                    f"not {tuple(audio_embeds.shape)}"
                )
            heard = 1 if audio_embeds.ndim == 3 else len(audio_embeds)
            if (speakers or heard > 1) and count != heard:
                raise RequestError(f"audio_embeds has {heard} speakers, and audio names {count}")
            if not torch.isfinite(audio_embeds).all():
                raise RequestError("audio_embeds must be finite")
            if audio_embeds.shape[-3] > AVATAR_FRAMES and not official:
                raise RequestError(
                    f"audio_embeds must have at most {AVATAR_FRAMES} frames, not {audio_embeds.shape[-3]}"
                )
        if official and count > 1:
            raise RequestError(f"official mode has one speaker, not {count}: the release cannot do several")

    def _frames(self, speeches: Sequence[Speech], audio_embeds: Tensor | None) -> int:
        """Video frames at 25 fps: all of the longest speech."""
        if audio_embeds is not None:
            return min(audio_embeds.shape[-3], AVATAR_FRAMES)
        return ceil(max(each.seconds for each in speeches) * AVATAR_FPS)

    def _check_segment_prompt(
        self, plan: AvatarPlan, prompt: str | None, embeds: Tensor | None, official: bool
    ) -> None:
        if prompt is not None or embeds is not None:
            self.check_prompt(prompt, embeds, "segment_prompt")
        elif official and not plan.single and (self.text_encoder is None or self.tokenizer is None):
            raise RequestError(
                f"official mode needs segment_prompt_embeds (of {SEGMENT_PROMPT!r}) where there is no text encoder"
            )

    # -- steps --------------------------------------------------------------------------------------------------------

    def _portrait(self, portrait: Image.Image, canvas: Canvas, official: bool) -> Tensor:
        """(1, 3, 1, H, W) in [-1, 1]."""
        fitted = cover(portrait, *canvas.size, BILINEAR) if official else canvas.fitted(np.asarray(portrait)[None])[0]
        return pixels_of([fitted])

    def _padded_text(self, prompt: str | None, embeds: Tensor | None) -> Tensor:
        """(1, 512, D): this network adds the zeros itself where embeddings are shorter."""
        text_BLD = self.encode_text(prompt, embeds)
        return torch.nn.functional.pad(text_BLD, (0, 0, 0, max(0, TEXT_TOKENS - text_BLD.shape[1])))

    def _segment_text(
        self, text_BLD: Tensor, plan: AvatarPlan, prompt: str | None, embeds: Tensor | None, official: bool
    ) -> Tensor:
        """What all passes after the key frames are told: the user's prompt; in official mode always the same."""
        if prompt is not None or embeds is not None:
            return self._padded_text(prompt, embeds)
        return self._padded_text(SEGMENT_PROMPT, None) if official and not plan.single else text_BLD

    def _negative_text(self, guidance: AvatarGuidance, prompt: str | None, embeds: Tensor | None) -> Tensor | None:
        if not guidance.by_text:
            return None
        return self._padded_text(None if embeds is not None else prompt or NEGATIVE_PROMPT, embeds)

    def _features(self, speeches: Sequence[Speech], audio_embeds: Tensor | None, frames: int, official: bool) -> Tensor:
        """(P, V, Y, C) float32 on the CPU, one row for each of `frames` video frames."""
        if audio_embeds is not None:
            features = audio_embeds if audio_embeds.ndim == 4 else audio_embeds[None]
            return features[:, :frames].float().cpu()
        encode = Wav2VecEncoder(self.alone(self.audio_encoder))
        seconds = max(each.seconds for each in speeches)
        waves = [official_speech(each) if official else speech(each, seconds) for each in speeches]
        features = [encode(torch.from_numpy(wave).float(), AVATAR_FPS, official).float().cpu() for wave in waves]
        return torch.stack(features)[:, :frames]

    def _soundtrack(
        self, speeches: Sequence[Speech], seconds: Fraction, official: bool
    ) -> tuple[np.ndarray | None, int]:
        """The original sound; in official mode what the encoder heard: 16 kHz, mono, -23 LUFS."""
        if not speeches:
            return None, 0
        if official:
            return official_speech(speeches[0]).astype(np.float32)[None], SAMPLE_RATE
        return soundtrack(speeches, seconds)
