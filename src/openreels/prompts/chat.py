"""A chat model as an enhancer: its reply is checked, repaired once, and never trusted.

A reply must obey the grammar, mention exactly the user's references, keep quoted words letter by letter, have a
sensible length, and hold nothing of the instructions. One that does not is sent back once with what is wrong. After
that, or where the model cannot be reached, the embedded enhancer writes the caption, and a warning says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from openreels.prompts.caption import Caption, quoted
from openreels.prompts.embedded import Embedded, fitting
from openreels.prompts.enhanced import MAX_LENGTH, Enhanced, Pictures
from openreels.prompts.grammar import PromptError, parse

__all__ = ["Chat", "ChatEnhancer", "ChatError", "faults", "instructions"]

Message = dict[str, Any]  # {"role": ..., "content": ...}, as chat models take them
MODALITIES = {
    "video+audio": "A video with sound is made.",
    "video": "A silent video is made: leave out <sfx> and <bgm>.",
    "audio": "Only a sound is made, no picture: leave out <text>, and describe what is heard.",
}
REPAIR = "That reply cannot be used: {faults}. Reply with the corrected caption alone."

THINKING = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)  # how reasoning models begin
FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
LEAK = 6  # words in a row that are the instructions' and not the user's
CHATTER = re.compile(
    r"^(?:sure|certainly|of course|okay|here (?:is|are)|here's|i cannot|i can't|as an ai|好的|当然|以下是"
    r"|(?:structured |enhanced |the )?(?:caption|prompt)\s*:)",
    re.IGNORECASE,
)


class ChatError(RuntimeError):
    """A chat model gave no answer. The message is a clause: "it did not answer in 60 s"."""


class Chat(Protocol):
    """Something that answers. name: for messages and recipes. pictures: whether it is shown the references."""

    name: str
    pictures: bool

    def reply(self, messages: Sequence[Message]) -> str:
        """Raises ChatError."""
        ...

    def unload(self) -> None:
        """Gives back the memory it holds, if any."""
        ...


class ChatEnhancer:
    """An `Enhancer` that asks a chat model."""

    def __init__(self, chat: Chat):
        self.chat = chat
        self.name = chat.name

    def __call__(self, prompt: str, modality: str = "video+audio", references: Pictures | None = None) -> Enhanced:
        instead = Embedded()(prompt, modality, references)
        if parse(prompt, references or ()).is_structured:
            return instead
        try:
            written, wrong = self.written(prompt, modality, references or {})
        except ChatError as error:
            written, wrong = "", str(error)
        if written:
            return Enhanced(written, prompt, self.name)
        warning = f"the embedded enhancer wrote the prompt, as {self.name} could not: {wrong}"
        return Enhanced(instead.prompt, prompt, instead.by, (warning, *instead.warnings))

    def written(self, prompt: str, modality: str, references: Pictures) -> tuple[str, str]:
        """The caption and "", or "" and what is wrong with the second reply. Raises ChatError."""
        messages = conversation(prompt, modality, references if self.chat.pictures else {})
        wrong = ""
        for _ in range(2):
            reply = unwrapped(self.chat.reply(messages))
            wrong = "; ".join(faults(reply, prompt, references))
            if not wrong:
                return str(fitting(parse(reply, references), modality)), ""
            messages = [
                *messages,
                {"role": "assistant", "content": reply[:MAX_LENGTH] or "(nothing)"},
                {"role": "user", "content": REPAIR.format(faults=wrong)},
            ]
        return "", wrong


@cache
def instructions() -> str:
    """The system prompt."""
    return (files("openreels.prompts") / "instructions.md").read_text(encoding="utf-8")


def conversation(prompt: str, modality: str, pictures: Pictures) -> list[Message]:
    """pictures: shown to the model, each after its tag; as paths, which an endpoint turns into data."""
    content: Any = prompt
    if pictures:
        content = [{"type": "text", "text": prompt}]
        for tag, path in pictures.items():
            content += [{"type": "text", "text": f"This is @{tag}:"}, {"type": "image", "path": Path(path)}]
    return [
        {"role": "system", "content": f"{instructions()}\n{MODALITIES[modality]}"},
        {"role": "user", "content": content},
    ]


def unwrapped(reply: str) -> str:
    """Without what models wrap an answer in: their thinking, a code fence."""
    reply = THINKING.sub("", reply).strip()
    fenced = FENCE.match(reply)
    return fenced[1].strip() if fenced else reply


def faults(reply: str, prompt: str, references: Pictures | None = None) -> Iterator[str]:
    """Why a reply cannot be used, in clauses for the model and for people; none where it can."""
    if not reply:
        yield "it is empty"
        return
    limit = min(MAX_LENGTH, 1_500 + 2 * len(prompt))
    if len(reply) > limit:
        yield f"it has {len(reply):,} characters, accepted are up to {limit:,}"
        return
    leaked = leak(reply, prompt)
    if leaked:
        yield f"it repeats the instructions ({leaked!r})"
    if CHATTER.match(reply) and not CHATTER.match(prompt):
        yield f"it talks about itself ({reply[:30]!r}) where only the caption is wanted"
    try:
        caption = parse(reply, references or ())
    except PromptError as error:
        yield f"at {error.sentence}"
        return
    yield from altered(caption, parse(prompt, references or ()), prompt)


def altered(caption: Caption, asked: Caption, prompt: str) -> Iterator[str]:
    """What of the user's a caption does not keep."""
    missing = [f"@{tag}" for tag in asked.tags if tag not in caption.tags]
    invented = [f"@{tag}" for tag in caption.tags if tag not in asked.tags]
    if missing:
        yield f"it does not mention {', '.join(missing)}"
    if invented:
        yield f"it mentions {', '.join(invented)}, which the user did not"
    said = str(caption)
    for words in quoted(prompt):
        if words not in said:
            yield f'it does not keep the words "{words}"'


def leak(reply: str, prompt: str) -> str:
    """The first run of words that the reply shares with the instructions, but not with the prompt; "" for none."""
    allowed = runs(prompt)
    secret = runs("\n".join([instructions(), *MODALITIES.values(), REPAIR]))
    return next((run for run in runs(reply) if run in secret and run not in allowed), "")


def runs(text: str) -> dict[str, None]:
    """All runs of `LEAK` words, in order; letters and digits alone count."""
    words = re.findall(r"\w+", text.lower())
    return dict.fromkeys(" ".join(words[i : i + LEAK]) for i in range(len(words) - LEAK + 1))
