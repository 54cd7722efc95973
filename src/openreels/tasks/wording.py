"""A user's prompt in the words that models learn: their tags, and plain sentences for what was said by fields.

Models see tags by kind and order, as in the paper: pictures are @image_1, @image_2 ..., clips @video_1 ..., sounds
@Audio-0 ...
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from openreels.encoders.multimodal import MultimodalEncoder
from openreels.media import Clip
from openreels.prompts import PromptError, check_tags, parse
from openreels.prompts.sounds import sentence
from openreels.prompts.vocabulary import language_of
from openreels.request import RequestError

__all__ = [
    "cut_sentence",
    "followed",
    "kind_of",
    "named_place",
    "own_tags",
    "perceived",
    "renamed",
    "sounds_sentence",
    "voice_sentence",
    "worded",
]

TAGS = {"image": ("image_", 1), "video": ("video_", 1), "audio": ("Audio-", 0)}  # prefix, first number
ENDS = ".。!！?？…>"  # of what needs no full stop
PLACES = {
    "left": ("the face on the left", "左边的脸"),
    "middle": ("the face in the middle", "中间的脸"),
    "right": ("the face on the right", "右边的脸"),
}
CUTS = {
    "cut-in": ("Then the camera cuts in.", "然后，镜头切近。"),
    "cut-out": ("Then the camera cuts out to a wide shot.", "然后，镜头切远，露出全景。"),
    "multi-angle": ("Then the camera cuts to another angle.", "然后，镜头换一个角度。"),
    "shot-reverse-shot": ("Then the camera cuts to the other side.", "然后，镜头切到对面。"),
    "cut-away": ("Then the camera cuts away.", "然后，镜头切走。"),
}


def is_chinese(prompt: str) -> bool:
    return language_of(prompt) is language_of("红")


def kind_of(clip: Clip) -> str:
    """ "image", "video" or "audio": one frame, frames, sound alone."""
    if clip.frames is None:
        return "audio"
    return "image" if len(clip.frames) == 1 else "video"


def own_tags(kinds: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """The tags that models know for media of these kinds, in this order. taken: kinds of those before them."""
    counts = {kind: first + list(taken).count(kind) for kind, (_, first) in TAGS.items()}
    tags = []
    for kind in kinds:
        tags.append(f"{TAGS[kind][0]}{counts[kind]}")
        counts[kind] += 1
    return tags


def renamed(prompt: str, tags: Mapping[str, str]) -> str:
    """The prompt with other tags. tags: the user's -> the model's. Raises RequestError where it mentions any other."""
    caption = parse(prompt, tags)
    try:
        check_tags(caption, tags)
    except PromptError as error:
        raise RequestError(f"prompt, {error.sentence}") from error
    for mention in reversed(caption.mentions):
        prompt = f"{prompt[: mention.span.start]}@{tags[mention.name]}{prompt[mention.span.end :]}"
    return prompt


def worded(prompt: str, tags: Collection[str]) -> str:
    """The prompt with its mentions of all but `tags` as mere words: for a reader that cannot see or hear these."""
    for mention in reversed(parse(prompt, tags).mentions):
        if mention.name not in tags:
            prompt = f"{prompt[: mention.span.start]}{mention.name}{prompt[mention.span.end :]}"
    return prompt


def perceived(encoder: MultimodalEncoder, prompt: str, media: Mapping[str, Clip]) -> tuple[str, dict[str, Clip]]:
    """The prompt, and what of its media the text encoder can see and hear; of the rest it reads the name."""
    eyes = encoder.family.sees and encoder.image_processor is not None
    ears = encoder.family.hears and encoder.feature_extractor is not None
    media = {tag: clip for tag, clip in media.items() if (ears if clip.frames is None else eyes)}
    return worded(prompt, media), media


def followed(prompt: str, sentences: Sequence[str]) -> str:
    """The prompt and more sentences behind it; empty ones are left out."""
    told = [sentence for sentence in sentences if sentence]
    if told and prompt[-1] not in ENDS:
        prompt += "。" if is_chinese(prompt) else "."
    return " ".join([prompt, *told])


def sounds_sentence(prompt: str, sounds: Sequence[str] | None) -> str:
    """Which kinds of sound are wanted, in the prompt's language; "" for None: as it says."""
    return "" if sounds is None else sentence(sounds, "zh" if is_chinese(prompt) else "en")


def named_place(prompt: str, side: str) -> str:
    """What a face at a side ("left", "middle", "right") is called, in the prompt's language."""
    return PLACES[side][is_chinese(prompt)]


def voice_sentence(prompt: str, face: str | None, voice: str) -> str:
    """Who speaks in which voice, in the prompt's language. face: what it is called, if it is. voice: a tag."""
    if is_chinese(prompt):
        return f"{face or ''}用@{voice}的声音说话。"
    said = f"{face or 'somebody'} speaks in the voice of @{voice}."
    return said[0].upper() + said[1:]


def cut_sentence(prompt: str, transition: str) -> str:
    """Which cut comes first, in the prompt's language; "" for none."""
    return CUTS[transition][is_chinese(prompt)] if transition in CUTS else ""
