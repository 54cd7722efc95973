"""The multimodal LLM as prompt encoder: Qwen2.5-VL, Qwen3-VL or the thinker of Qwen2.5-Omni, through transformers.

It reads one conversation: a system message, then the prompt with its pictures, clips and sounds at their tags. The
hidden states of one layer, without the template before the prompt, are the context of both towers (paper, "MMLM").
Layer, template and crop are HunyuanVideo-1.5's: for plain text the result equals diffusers' `HunyuanVideo15Pipeline`.

transformers' processors of these models need torchvision for clips. Their parts that do not are used here (tokenizer,
picture processor, spectrogram); token sequences are built from the numbers of the model's own config, so no text of a
user is ever taken for a special token.

Legend: B batch, L tokens of the context, D width, T frames, H W pixels, N patches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from openreels.encoders.prompt import PromptParts
from openreels.media.audio import resample, to_mono
from openreels.media.clip import Clip
from openreels.media.timing import nearest_frames
from openreels.types import Context

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase, WhisperFeatureExtractor

__all__ = ["SYSTEM_PROMPT", "MultimodalEncoder"]

# To the blank what HunyuanVideo-1.5 was trained behind (diffusers, pipelines/hunyuan_video1_5).
ASPECTS = (
    "The main content and theme of the video.",
    "The color, shape, size, texture, quantity, text, and spatial relationships of the objects.",
    "Actions, events, behaviors temporal relationships, physical movement changes of the objects.",
    "background environment, light, style and atmosphere.",
    "camera angles, movements, and transitions used in the video.",
)
SYSTEM_PROMPT = "You are a helpful assistant. Describe the video by detailing the following aspects:" + "".join(
    f"{' ' * 9}{number}. {aspect}" for number, aspect in enumerate(ASPECTS, 1)
)
BEFORE, BEHIND = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Family:
    """How one family of models takes media.

    seconds: the argument with the seconds between temporal patches of a clip. stamped: each temporal patch stands by
    itself behind its time in words, instead. sees, hears: what it reads besides text.
    """

    seconds: str | None = None
    stamped: bool = False
    sees: bool = True
    hears: bool = False


# By `config.model_type`.
FAMILIES = {
    "qwen2_5_vl": Family(seconds="second_per_grid_ts"),
    "qwen2_5_vl_text": Family(sees=False),
    "qwen3_vl": Family(stamped=True),
    "qwen2_5_omni_thinker": Family(seconds="video_second_per_grid", hears=True),
}


@dataclass
class Draft:
    """A conversation on its way to the model: token numbers, and what the placeholders among them stand for.

    template: how many tokens stand before the prompt.
    """

    tokens: list[int]
    template: int = 0
    pictures: list[dict[str, Tensor]] = field(default_factory=list)
    clips: list[dict[str, Tensor]] = field(default_factory=list)
    sounds: list[dict[str, Tensor]] = field(default_factory=list)

    def place(self, first: int, placeholder: int, count: int, last: int) -> None:
        self.tokens += [first, *[placeholder] * count, last]


class MultimodalEncoder:
    """Prompts, with or without media -> `Context`.

    model: `Qwen2_5_VLModel`, `Qwen3VLModel`, `Qwen2_5OmniThinkerModel` (all without their language head), or
    `Qwen2_5_VLTextModel` for text alone. tokenizer: its own. image_processor: of the `Qwen2VLImageProcessor` kind, for
    pictures and clips. feature_extractor: a `WhisperFeatureExtractor`, for sounds (Omni).
    layer: which hidden states, counted as transformers does (0 is the embedding, -1 the last behind its norm).
    system_prompt: what stands before the prompt. clip_fps: at how many frames a second clips are looked at.
    clip_pixels: least and most pixels of a clip's frame, as Qwen2.5-VL has it. remembers: how many results are kept.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        model: PreTrainedModel,
        image_processor: BaseImageProcessor | None = None,
        feature_extractor: WhisperFeatureExtractor | None = None,
        *,
        layer: int = -3,
        system_prompt: str = SYSTEM_PROMPT,
        clip_fps: Fraction | int = 2,
        clip_pixels: tuple[int, int] = (128 * 28 * 28, 768 * 28 * 28),
        remembers: int = 8,
    ) -> None:
        if (kind := model.config.model_type) not in FAMILIES:
            raise ValueError(f"text_encoder must be a model of the kinds {', '.join(FAMILIES)}, not {kind}")
        states = model.config.get_text_config().num_hidden_layers + 1
        if not -states <= layer < states:
            raise ValueError(f"the layer must be from {-states} to {states - 1} in this text encoder, not {layer}")
        if image_processor is not None and FAMILIES[kind].sees:
            check_eyes(image_processor, model)
        self.tokenizer, self.model = tokenizer, model
        self.image_processor, self.feature_extractor = image_processor, feature_extractor
        self.family = FAMILIES[kind]
        self.layer, self.system_prompt = layer, system_prompt
        self.clip_fps, self.clip_pixels = Fraction(clip_fps), clip_pixels
        self.remembers = remembers
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._home: torch.device | None = None

    @property
    def width(self) -> int:
        return self.model.config.get_text_config().hidden_size

    # -- from prompts to a context --------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | PromptParts], device: torch.device | None = None) -> Context:
        """Float32 hidden states (B, L, D) of each prompt and what ends its turn; shorter ones are padded, masked.

        What was encoded lately is not encoded again. device: where the model computes; by default where its weights
        are (they lie elsewhere while it is offloaded). Raises ValueError for media that this model cannot read.
        """
        hidden = [self._remembered(as_parts(prompt), device) for prompt in prompts]
        longest = max(len(hidden_LD) for hidden_LD in hidden)
        padded = [torch.nn.functional.pad(hidden_LD, (0, 0, 0, longest - len(hidden_LD))) for hidden_LD in hidden]
        lengths_B = torch.tensor([len(hidden_LD) for hidden_LD in hidden])
        mask_BL = torch.arange(longest) < lengths_B[:, None]
        hidden_BLD = torch.stack(padded)
        return Context(hidden_BLD, mask_BL).to(device or hidden_BLD.device)

    def _remembered(self, prompt: PromptParts, device: torch.device | None) -> Tensor:
        """(L, D) on the CPU: results outlive the stay of the model on its device."""
        key = prompt.digest()
        if key not in self._known:
            self._known[key] = self._read(prompt, device).cpu()
        self._known.move_to_end(key)
        hidden_LD = self._known[key]
        while len(self._known) > self.remembers:
            self._known.popitem(last=False)
        return hidden_LD

    def _read(self, prompt: PromptParts, device: torch.device | None) -> Tensor:
        """(L, D) of one prompt: the model runs."""
        if self._home is not None:
            self.model.to(self._home)
            self._home = None
        draft = self._draft(prompt)
        device = device or self.model.device
        inputs = {name: value.to(device) for name, value in self._inputs(draft).items()}
        states = self.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        return states[self.layer][0, draft.template :].float()

    def park(self) -> None:
        """Sends the model to main memory; the next prompt that is not remembered fetches it back."""
        if self._home is None:
            self._home = self.model.device
            self.model.to("cpu")

    def forget(self) -> None:
        """Drops all remembered results: needed where the model's weights have changed."""
        self._known.clear()

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _draft(self, prompt: PromptParts) -> Draft:
        draft = Draft(self._words(BEFORE.format(self.system_prompt), special=True))
        draft.template = len(draft.tokens)
        for part in prompt.parts or (" ",):  # HunyuanVideo-1.5 says a blank where nothing is said
            self._medium(draft, part) if isinstance(part, Clip) else draft.tokens.extend(self._words(part))
        draft.tokens += self._words(BEHIND, special=True)
        return draft

    def _words(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special).input_ids

    def _medium(self, draft: Draft, clip: Clip) -> None:
        if clip.frames is not None and not (self.family.sees and self.image_processor):
            raise ValueError(f"the prompt names {clip!r}, and this text encoder has no eyes ({self._what()})")
        if clip.frames is None and not (self.family.hears and self.feature_extractor):
            raise ValueError(f"the prompt names {clip!r}, and this text encoder has no ears ({self._what()})")
        if clip.frames is not None:
            self._picture(draft, clip) if len(clip.frames) == 1 else self._clip(draft, clip)
        if clip.audio is not None and self.family.hears and self.feature_extractor:
            self._sound(draft, clip)

    def _what(self) -> str:
        parts = {"image_processor": self.image_processor, "feature_extractor": self.feature_extractor}
        missing = [name for name, part in parts.items() if part is None]
        return f"{type(self.model).__name__}{', without ' + ' and '.join(missing) if missing else ''}"

    def _picture(self, draft: Draft, clip: Clip) -> None:
        seen = self.image_processor(images=list(clip.frames), return_tensors="pt")
        draft.pictures.append({"pixel_values": seen["pixel_values"], "image_grid_thw": seen["image_grid_thw"]})
        config = self.model.config
        draft.place(
            config.vision_start_token_id,
            config.image_token_id,
            self._merged(seen["image_grid_thw"][0]),
            config.vision_end_token_id,
        )

    def _merged(self, grid_3: Tensor) -> int:
        """Tokens of a (time, rows, columns) grid of patches."""
        return int(grid_3.prod()) // self.image_processor.merge_size**2

    def _clip(self, draft: Draft, clip: Clip) -> None:
        times = [Fraction(i) / clip.fps for i in range(len(clip.frames))]
        picks = nearest_frames(times, len(clip.frames) / clip.fps, self.clip_fps)
        depth = self.image_processor.temporal_patch_size
        picks += [picks[-1]] * (-len(picks) % depth)
        least, most = self.clip_pixels
        seen = self.image_processor(
            images=[clip.frames[i] for i in picks],
            temporal_patch_size=1,
            size={"shortest_edge": least, "longest_edge": most},
            return_tensors="pt",
        )
        # Frames one by one, then `depth` of them to a patch: what the library's video processor makes of a clip.
        pixels_NP = rearrange(
            seen["pixel_values"],
            "(f d n) (c p) -> (f n) (c d p)",
            d=depth,
            c=3,
            n=int(seen["image_grid_thw"][0].prod()),
        )
        grid_3 = torch.tensor([len(picks) // depth, *seen["image_grid_thw"][0, 1:].tolist()])
        draft.clips.append({"pixel_values_videos": pixels_NP, "video_grid_thw": grid_3[None]})
        config = self.model.config
        ends = (config.vision_start_token_id, config.vision_end_token_id)
        if not self.family.stamped:
            draft.place(ends[0], config.video_token_id, self._merged(grid_3), ends[1])
            return
        for group in range(int(grid_3[0])):
            first, last = times[picks[group * depth]], times[picks[group * depth + depth - 1]]
            draft.tokens += self._words(f"<{float(first + last) / 2:.1f} seconds>")
            draft.place(ends[0], config.video_token_id, self._merged(grid_3) // int(grid_3[0]), ends[1])

    def _sound(self, draft: Draft, clip: Clip) -> None:
        extractor = self.feature_extractor
        longest = extractor.n_samples / extractor.sampling_rate
        if clip.audio.shape[1] / clip.sample_rate > longest:
            raise ValueError(f"the prompt names {clip!r}; this text encoder hears up to {longest:g} s")
        heard = extractor(
            resample(to_mono(clip.audio), clip.sample_rate, extractor.sampling_rate)[0],
            sampling_rate=extractor.sampling_rate,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = heard["attention_mask"]
        draft.sounds.append({"input_features": heard["input_features"], "feature_attention_mask": mask})
        # Two convolutions of the audio tower halve the spectrogram twice.
        count = int(self.model.audio_tower._get_feat_extract_output_lengths(mask.sum(-1))[1])
        config = self.model.config
        draft.place(config.audio_start_token_id, config.audio_token_id, count, config.audio_end_token_id)

    def _inputs(self, draft: Draft) -> dict[str, Tensor]:
        """Arguments of the model."""
        tokens_BL = torch.tensor([draft.tokens])
        inputs = {"input_ids": tokens_BL, "attention_mask": torch.ones_like(tokens_BL)}
        for group in (draft.pictures, draft.clips, draft.sounds):
            if group:
                inputs |= {name: torch.cat([entry[name] for entry in group]) for name in group[0]}
        if draft.clips and self.family.seconds:
            seconds = self.image_processor.temporal_patch_size / self.clip_fps
            inputs[self.family.seconds] = torch.full((len(draft.clips),), float(seconds))
        if (draft.pictures or draft.clips) and not self.family.hears:  # Omni tells them apart by itself
            config = self.model.config
            kinds_BL = (tokens_BL == config.image_token_id).int() + 2 * (tokens_BL == config.video_token_id).int()
            inputs["mm_token_type_ids"] = kinds_BL
        return inputs


def as_parts(prompt: str | PromptParts) -> PromptParts:
    return prompt if isinstance(prompt, PromptParts) else PromptParts((prompt,) if prompt else ())


def check_eyes(image_processor: BaseImageProcessor, model: PreTrainedModel) -> None:
    """Raises ValueError unless pictures are cut as the model's vision tower expects them."""
    vision = model.config.vision_config
    cut = (image_processor.patch_size, image_processor.temporal_patch_size, image_processor.merge_size)
    expected = (vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)
    if cut != expected:
        raise ValueError(
            f"image_processor cuts patches of {cut} (pixels, frames, merged); {type(model).__name__} takes {expected}"
        )
