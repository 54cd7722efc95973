"""The V4 generation pipeline: a list of steps over components that know nothing of each other.

Legend: B batch, T frames, H W pixels, N video tokens, A audio tokens, C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar
from zlib import crc32

import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, SequenceFeatureExtractor
from transformers.image_processing_utils import BaseImageProcessor

from openreels.encoders.brief import Brief
from openreels.encoders.multimodal import MultimodalEncoder
from openreels.encoders.prompt import PromptParts
from openreels.flow.guidance import Guidance
from openreels.flow.sampling import Progress, sample
from openreels.flow.schedule import Schedule
from openreels.media import Clip
from openreels.media.timing import samples_for
from openreels.models.evidence import Evidence
from openreels.models.layout import amended, as_long, as_seen, heard_layout, seen_layout
from openreels.models.planner import LayoutPlanner
from openreels.models.reader import LayoutReader
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.caching import step_cache
from openreels.pipelines.components import adapted_audio, adapted_text, adapted_video, check_fit
from openreels.pipelines.parallel import BatchParallel, share
from openreels.tasks.given import Given, composited, states
from openreels.types import AudioShape, Context, StreamState, VideoShape

__all__ = ["SkyReelsV4Output", "SkyReelsV4Pipeline"]

SORTS = ("kind", "colour")  # of classes in layouts, as a brief is asked for them


@dataclass
class SkyReelsV4Output(BaseOutput):
    """frames: (B, T, H, W, 3) uint8, or None. audio: (B, S) float32 in [-1, 1], or None; of more than one channel
    (B, K, S). Latents: (B, N, C) each."""

    frames: Tensor | None
    audio: Tensor | None


class SkyReelsV4Pipeline(DiffusionPipeline):
    """Text, and whatever else is given, to video with its sound.

    Codecs and text encoder are of any class that `pipelines/components.py` lists. image_processor, feature_extractor:
    eyes and ears of a multimodal text encoder. planner: says where things go before they are drawn, for a transformer
    with a layout embedding (pocket); without one the transformer is told the prompt alone. reader: says where things
    are in pictures and clips that are given, for the planner; without one nothing is planned beside these.
    fps: frames per second of what the transformer was trained on. planned_guidance: by text and cross-modal beside a
    layout, which itself says most of what the prompt does; None: as without. steps, guidance, cross_modal_guidance,
    audio_lag, shift: what `__call__` uses where it is not told otherwise. audio_channels: 1, or 2 for stereo.
    text_layer, system_prompt: see `MultimodalEncoder`; None is HunyuanVideo-1.5's. offers: what the model was made for,
    fields of `Capabilities` such as {"resolutions": ["480p"], "durations": [3, 15]}; see `registry.capabilities`. All
    of these travel with the weights. Raises ValueError where parts do not fit together.
    """

    model_cpu_offload_seq = "text_encoder->brief->reader->planner->transformer->video_vae->audio_vae->vocoder"
    _optional_components: ClassVar = ["image_processor", "feature_extractor", "brief", "reader", "planner"]

    def __init__(
        self,
        transformer: SkyReelsV4Transformer,
        video_vae: ModelMixin,
        audio_vae: ModelMixin,
        vocoder: ModelMixin,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor | None = None,
        feature_extractor: SequenceFeatureExtractor | None = None,
        brief: Brief | None = None,
        reader: LayoutReader | None = None,
        planner: LayoutPlanner | None = None,
        fps: int = 16,
        steps: int = 30,
        guidance: float = 3.0,
        cross_modal_guidance: float = 2.5,
        audio_lag: float = 0.15,
        shift: float = 1.0,
        audio_channels: int = 1,
        text_layer: int = -3,
        system_prompt: str | None = None,
        offers: dict[str, Any] | None = None,
        planned_guidance: list[float] | None = None,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            video_vae=video_vae,
            audio_vae=audio_vae,
            vocoder=vocoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_processor=image_processor,
            feature_extractor=feature_extractor,
            brief=brief,
            reader=reader,
            planner=planner,
        )
        self.register_to_config(
            fps=fps,
            steps=steps,
            guidance=guidance,
            cross_modal_guidance=cross_modal_guidance,
            audio_lag=audio_lag,
            shift=shift,
            audio_channels=audio_channels,
            text_layer=text_layer,
            system_prompt=system_prompt,
            offers=offers,
            planned_guidance=planned_guidance,
        )
        self.video_codec = adapted_video(video_vae, transformer)
        self.audio_codec = adapted_audio(audio_vae, vocoder, audio_channels)
        self.encoder = adapted_text(
            text_encoder, tokenizer, image_processor, feature_extractor, text_layer, system_prompt, brief
        )
        check_fit(transformer, self.video_codec, self.audio_codec, self.encoder, reader, planner, brief)
        self._shared: BatchParallel | None = None

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] = "",
        media: Mapping[str, Clip] | Sequence[Mapping[str, Clip]] | None = None,
        given: Given | Sequence[Given] | None = None,
        num_frames: int = 33,
        height: int = 64,
        width: int = 64,
        video: bool = True,
        audio: bool = True,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        output_type: str = "pt",
        park_text_encoder: bool = False,
        cache_interval: int = 1,
        progress: Progress | None = None,
    ) -> SkyReelsV4Output:
        """Generate one clip per prompt.

        media: pictures, clips and sounds by the tag that names them in the prompt, for a multimodal text encoder; for
        all prompts, or one mapping each. given: kept frames, references, a whole sound or picture, on the canvas; for
        all prompts, or one each, of the same shapes. What is kept of the frames, and a picture or a sound given whole,
        comes out bit for bit. num_frames: 4k + 1. height, width: multiples of the video codec's
        `spatial_factor` (16 pixels). video, audio: what to make. seed: one per prompt, or one for the first, counted
        up. output_type: "pt" (frames and samples) or "latent". park_text_encoder: a large one waits in main memory
        while the rest works. cache_interval: of so many steps one is computed, the rest is extrapolated (see
        `caching.step_cache`). progress: called after each step.
        Raises ValueError for sizes the codecs cannot take, for tags and media that do not match, and for what is given
        in another size than the clip's.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        named = [media or {}] * len(prompts) if media is None or isinstance(media, Mapping) else list(media)
        known = [given or Given()] * len(prompts) if given is None or isinstance(given, Given) else list(given)
        if not len(prompts) == len(negatives) == len(seeds) == len(named) == len(known) or not (video or audio):
            raise ValueError(
                "give one negative prompt, seed and mapping of media per prompt, and what else is given of each; and "
                "ask for video, audio or both"
            )
        if isinstance(self.encoder, MultimodalEncoder) or any(named):
            prompts = [PromptParts.of(*pair) for pair in zip(prompts, named, strict=True)]
        device = self._execution_device
        fps = Fraction(self.config.fps)
        video_shape = self.video_codec.shape(num_frames, height, width, fps)
        audio_shape = self.audio_codec.shape(samples_for(num_frames, fps, self.audio_codec.sample_rate))

        _check_given(known[0], video_shape, audio_shape, video, audio)

        positive, negative = self.encoder.encode(prompts, device), self.encoder.encode(negatives, device)
        if park_text_encoder:
            self.encoder.park()
        blanks = states(known, self.video_codec, self.audio_codec, video_shape, audio_shape, device)
        whole = known[0].picture_THWC is not None, known[0].sound_S is not None
        video_start = self._started(blanks[0], seeds, 0, whole[0]) if video else None
        audio_start = self._started(blanks[1], seeds, 1, whole[1]) if audio else None
        usual = Guidance(self.config.guidance, self.config.cross_modal_guidance)
        if video and self._plans(known[0], video_shape):
            usual = usual if self.config.planned_guidance is None else Guidance(*self.config.planned_guidance)
            prompts = positive, negative
            video_start, audio_start = self._planned(prompts, known, video_start, audio_start, video_shape, seeds)
        both = video and audio and not any(whole)
        schedule = Schedule(
            num_inference_steps or self.config.steps, self.config.shift, self.config.audio_lag if both else 0.0
        )
        guidance = usual if guidance_scale is None else replace(usual, text=guidance_scale)
        with step_cache(self.transformer, cache_interval):
            model = self._shared or self.transformer
            video_end, audio_end = sample(
                model, video_start, audio_start, positive, negative, schedule, guidance, progress
            )
        frames = video_end.noisy_BNC if video_end else None
        samples = audio_end.noisy_BNC if audio_end else None
        if output_type == "latent":
            self.maybe_free_model_hooks()
            return SkyReelsV4Output(frames, samples)
        if frames is not None and not whole[0]:
            frames = self.video_codec.decode(frames, video_shape, device)
        if samples is not None:
            sounds = [each.sound_S for each in known]
            decode = self.audio_codec.decode
            samples = torch.stack(sounds) if whole[1] else decode(samples, audio_shape.samples, device)
        self.maybe_free_model_hooks()  # of model offload: whatever ran last leaves the accelerator
        return SkyReelsV4Output(None if frames is None else composited(frames, known), samples)

    def _plans(self, given: Given, shape: VideoShape) -> bool:
        """Whether layouts are planned: of clips that are not too long; beside pictures, where these can be read."""
        if self.planner is None or shape.latent_frames > self.planner.config.frames:
            return False
        return self.reader is not None or not (given.pictures or given.is_painted)

    def _shown(self, known: Sequence[Given], video: StreamState, shape: VideoShape) -> list[Tensor]:
        """Layouts (B, S, F', K) of the pictures and clips referred to, in their order."""
        pictures = known[0].pictures
        if pictures and known[0].source_THWC is not None and known[0].frames_THWC is None:
            pictures = pictures[:-1]  # the last one is the source
        shapes = [self.video_codec.shape(*picture.shape[:3], shape.fps) for picture in pictures]
        sizes = [each.tokens for each in shapes]
        latents = video.reference_BRC[:, : sum(sizes)].split(sizes, dim=1)
        return [self.reader.read(*pair) for pair in zip(latents, shapes, strict=True)]

    def _followed(
        self, known: Sequence[Given], video: StreamState, audio: StreamState | None, shape: VideoShape
    ) -> list[Tensor]:
        """Layouts (B, S, F, K) of what is known of the clip itself, as in training (`training/layouts.py`): of the
        one that is edited or given whole, or of what is kept of it from its first frame on; then what is heard of a
        sound that is given whole."""
        first, found = known[0], []
        if first.source_THWC is not None and first.frames_THWC is None:
            found.append(self.reader.read(video.reference_BRC[:, -shape.tokens :], shape))
        elif first.source_THWC is not None:  # masked: no state holds all of it
            source_BTHWC = torch.stack([each.source_THWC for each in known])
            found.append(self.reader.read(self.video_codec.encode(source_BTHWC, device=video.noisy_BNC.device), shape))
        elif first.picture_THWC is not None:
            found.append(self.reader.read(video.noisy_BNC, shape))
        elif first.frames_THWC is not None:
            found.append(self._begun(video, shape))
        if first.sound_S is not None and audio is not None:
            found.append(self.reader.hear(audio.noisy_BNC, shape.latent_frames))
        return found

    def _begun(self, video: StreamState, shape: VideoShape) -> Tensor:
        """The layouts of what is given whole from the first latent frame on; nobody is there behind that."""
        each = shape.latent_height * shape.latent_width
        whole_BF = (video.mask_BN1[..., 0] >= 1).unflatten(1, (-1, each)).all(-1)
        kept_B = whole_BF.cumprod(1).sum(1).tolist()
        layout_BSFK = self.reader.nobody(len(kept_B), shape.latent_frames)
        for index, kept in enumerate(kept_B):
            if kept:
                own = replace(shape, latent_frames=kept, frames=self.video_codec.temporal_factor * (kept - 1) + 1)
                layout_BSFK[index, :, :kept] = self.reader.read(video.given_BNC[index, None, : own.tokens], own)[0]
        return layout_BSFK

    def _planned(
        self,
        prompts: tuple[Context, Context],
        known: Sequence[Given],
        video: StreamState,
        audio: StreamState | None,
        shape: VideoShape,
        seeds: Sequence[int],
    ) -> tuple[StreamState, StreamState | None]:
        """The states, told where everything will be. prompts: those, and the negative ones. known: what is given."""
        draws = [torch.Generator().manual_seed(crc32(f"{seed}/layout".encode())) for seed in seeds]
        shown = own = followed = ()
        if self.reader is not None:
            shown = self._shown(known, video, shape)
            own = followed = self._followed(known, video, audio, shape)
            alike = as_long(shown, shape.latent_frames)
            shown, followed = shown[: len(shown) - alike], [*shown[len(shown) - alike :], *followed]
        layout_BSFK = self.planner.plan(
            *prompts,
            shape.latent_frames,
            shape.width / shape.height,
            draws,
            shown=[*shown, *followed],
            followed=len(followed),
            evidence=Evidence(self.transformer, video, audio, shape, prompts[0]) or None,
        )
        if known[0].source_THWC is not None and own:
            layout_BSFK = self._amended(layout_BSFK, own[0], prompts[0])
        stays_B111 = ~self._moves(prompts[0])[:, None, None, None]
        for seen_BSFK in followed:
            layout_BSFK = torch.where(stays_B111, as_seen(layout_BSFK, seen_BSFK), layout_BSFK)
        device = video.noisy_BNC.device
        video = replace(video, layout_BNK=seen_layout(layout_BSFK, shape).to(device))
        if audio is not None:
            audio = replace(audio, layout_BNK=heard_layout(layout_BSFK, audio.tokens).to(device))
        return self.transformer.sketched(video, audio, prompts[0])

    def _moves(self, prompt: Context) -> Tensor:
        """Whether the camera shall move, (B,), bool: then nobody is where he was seen."""
        likely_BK = self._said("move", prompt)
        return torch.zeros(len(prompt.hidden_BLD), dtype=torch.bool) if likely_BK is None else likely_BK[:, 0] < 0.5

    def _said(self, question: str, prompt: Context) -> Tensor | None:
        """How likely each answer to a question is by what the prompt asks for, (B, answers); None: nobody says."""
        if self.brief is None or prompt.brief_BK is None:
            return None
        return self.brief.said_of(question, prompt.brief_BK.cpu())

    def _amended(self, planned_BSFK: Tensor, source_BSFK: Tensor, prompt: Context) -> Tensor:
        """Plans of an edit by what the brief says of who goes and who comes, if that was asked."""
        said = [self._said(f"{who} {what}", prompt) for who in ("gone", "new") for what in SORTS]
        if any(each is None for each in said):
            return planned_BSFK
        return amended(planned_BSFK, source_BSFK.cpu(), said[: len(SORTS)], said[len(SORTS) :])

    def enable_parallel(self, context: int = 1) -> None:
        """From now on all processes of the default group sample together; each calls the pipeline alike.

        context: processes that share the tokens of one clip; groups of so many divide the branches of guidance.
        Raises ValueError where the processes do not divide into such groups.
        """
        self._shared = share(self.transformer, context)

    def _started(self, state: StreamState, seeds: Sequence[int], salt: int, given: bool) -> StreamState:
        """With noise that depends on each sample's own seed and modality alone: drawn on the CPU, the same on any
        device. What is given whole has none."""
        if given:
            return state.to(self._execution_device)
        draws = []
        for seed in seeds:
            # torch's CPU generator looks at 32 bits of a seed: hashed, all 63 of a request's count.
            generator = torch.Generator().manual_seed(crc32(f"{seed}/{salt}".encode()))
            draws.append(torch.randn(state.noisy_BNC.shape[1:], generator=generator))
        return state.at(torch.stack(draws), state.time_B).to(self._execution_device)


def _check_given(given: Given, video_shape: VideoShape, audio_shape: AudioShape, video: bool, audio: bool) -> None:
    size = (video_shape.frames, video_shape.height, video_shape.width)
    for name in ("frames_THWC", "keep_THW", "source_THWC", "picture_THWC"):
        part = getattr(given, name)
        if part is not None and tuple(part.shape[:3]) != size:
            raise ValueError(f"given {name} must be of {size} frames, height and width, not {tuple(part.shape[:3])}")
    if (given.frames_THWC is None) != (given.keep_THW is None):
        raise ValueError("given frames_THWC and keep_THW belong together: frames, and where they are kept")
    if given.sound_S is not None and given.sound_S.shape[-1] != audio_shape.samples:
        raise ValueError(f"given sound_S must have {audio_shape.samples:,} samples, not {given.sound_S.shape[-1]:,}")
    for name, stream in (("picture_THWC", video), ("sound_S", audio)):
        if getattr(given, name) is not None and not stream:
            raise ValueError(f"{name} is given, and its stream is left out")
