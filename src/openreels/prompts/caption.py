"""A prompt as a tree: plain text, references (@cat) and the tagged parts of a structured caption.

The paper's structured captions (section on data) describe the picture and then, in tags of a fixed order, what is
written on it and what is heard: `<text>`, `<sfx>`, `<dialogue>`, `<singing>`, `<bgm>`. `grammar.parse` makes the tree;
every node knows its place in the prompt, and `str(tree)` is the prompt again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ["KINDS", "UNHEARD", "UNSEEN", "Caption", "Element", "Line", "Mention", "Node", "Span", "Text", "quoted"]

KINDS: dict[str, str] = {
    "text": "words on the screen",
    "sfx": "sound effects and ambience",
    "dialogue": "spoken words",
    "singing": "sung words",
    "bgm": "background music",
}  # in the paper's order
UNSEEN = ("sfx", "bgm")  # of no use to a silent video; lips move to what is spoken and sung
UNHEARD = ("text",)

QUOTES = {'"': '"', "“": "”", "„": "“", "「": "」", "『": "』", "«": "»"}
QUOTED = re.compile("|".join(f"{re.escape(a)}([^{re.escape(b)}]+){re.escape(b)}" for a, b in QUOTES.items()))
TURN = re.compile(r"\s*[:：]\s*")  # after the mention of who speaks: "@anna: Good morning"
SENTENCE_END = re.compile(r"[.!?。！？\n]")


class Span(NamedTuple):
    """Characters `start` to `end` (not included) of the prompt."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """Words, spaces and punctuation, as written."""

    words: str
    span: Span

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Mention:
    """A reference by its tag; name: without the @."""

    name: str
    span: Span

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True, slots=True)
class Element:
    """A tagged part. kind: of KINDS. span: from the `<` of the opening tag to the `>` of the closing one."""

    kind: str
    children: tuple[Text | Mention, ...]
    span: Span

    def __str__(self) -> str:
        return f"<{self.kind}>{self.inside}</{self.kind}>"

    @property
    def inside(self) -> str:
        """What stands between the tags, as written."""
        return "".join(map(str, self.children))


Node = Text | Mention | Element


class Line(NamedTuple):
    """Words that somebody says or sings.

    tags: references named with it, the speaker first, then for instance a voice; () where nobody is named.
    kind: "dialogue" or "singing". span: of the words alone.
    """

    words: str
    tags: tuple[str, ...]
    kind: str
    span: Span

    @property
    def speaker(self) -> str | None:
        return self.tags[0] if self.tags else None


@dataclass(frozen=True, slots=True)
class Caption:
    """A parsed prompt: `nodes` cover it from its first to its last character."""

    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.nodes))

    @property
    def elements(self) -> tuple[Element, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Element))

    @property
    def is_structured(self) -> bool:
        return bool(self.elements)

    @property
    def visual(self) -> str:
        """The plain description, without the tagged parts; white space collapsed."""
        return " ".join("".join(str(node) for node in self.nodes if not isinstance(node, Element)).split())

    def contents(self, kind: str) -> tuple[str, ...]:
        """What the elements of one kind say, stripped: `contents("sfx")` are the sound effects."""
        return tuple(element.inside.strip() for element in self.elements if element.kind == kind)

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """All of them, in order, those inside elements too."""
        return tuple(
            leaf
            for node in self.nodes
            for leaf in (node.children if isinstance(node, Element) else (node,))
            if isinstance(leaf, Mention)
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of the references, each once, in order."""
        return tuple(dict.fromkeys(mention.name for mention in self.mentions))

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is said and sung, and by whom.

        In `<dialogue>` and `<singing>` words in quotation marks are a line, and so is a turn `@anna: words` up to the
        next turn or the end of the line. Anything else describes ("The person speaks in a low voice."). Who speaks is
        named before the words: inside the element, or else earlier in the sentence that the element belongs to.
        """
        found: list[Line] = []
        before: tuple[str, ...] = ()
        for node in self.nodes:
            if isinstance(node, Element):
                if node.kind in ("dialogue", "singing"):
                    found += lines_of(node, before)
                before = ()
            elif isinstance(node, Mention):
                before = (*before, node.name)
            elif SENTENCE_END.search(node.words):
                before = ()
        return tuple(found)

    def without(self, kinds: Collection[str]) -> Caption:
        """Less the elements of these kinds, and less the gaps that they would leave."""
        return laid_out(closed_up(self.nodes, kinds))


def quoted(text: str) -> tuple[str, ...]:
    """The words in quotation marks, without the marks."""
    return tuple(words_of(match) for match in QUOTED.finditer(text))


def words_of(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def lines_of(element: Element, before: tuple[str, ...]) -> Iterator[Line]:
    """before: tags of the sentence that leads to the element."""
    named: tuple[str, ...] = ()
    for index, leaf in enumerate(element.children):
        if isinstance(leaf, Mention):
            named = (*named, leaf.name)
            continue
        spoken = [(words_of(match), match.start(match.lastindex)) for match in QUOTED.finditer(leaf.words)]
        follows_mention = index > 0 and isinstance(element.children[index - 1], Mention)
        if not spoken and follows_mention and (colon := TURN.match(leaf.words)):
            turn = leaf.words[colon.end() :].partition("\n")[0].rstrip()
            spoken = [(turn, colon.end())] if turn else []
        for words, offset in spoken:
            start = leaf.span.start + offset
            yield Line(words, named or before, element.kind, Span(start, start + len(words)))
            named = ()


def closed_up(nodes: Iterable[Node], dropped: Collection[str]) -> list[Node]:
    kept: list[Node] = []
    gap = False
    for node in nodes:
        if isinstance(node, Element) and node.kind in dropped:
            gap = True
            continue
        if gap and isinstance(node, Text) and (not kept or str(kept[-1])[-1].isspace()):
            node = replace(node, words=node.words.lstrip())
        gap = False
        kept += [node] if str(node) else []
    if gap and kept and isinstance(kept[-1], Text):
        kept[-1] = replace(kept[-1], words=kept[-1].words.rstrip())
    return kept


def laid_out(nodes: Iterable[Node]) -> Caption:
    """The caption of these nodes in this order, their spans counted anew, neighbouring texts joined."""
    placed: list[Node] = []
    for node in nodes:
        start = placed[-1].span.end if placed else 0
        shift = start - node.span.start
        span = Span(start, start + len(str(node)))
        if isinstance(node, Element):
            children = tuple(
                replace(leaf, span=Span(leaf.span.start + shift, leaf.span.end + shift)) for leaf in node.children
            )
            placed.append(replace(node, children=children, span=span))
        elif isinstance(node, Text) and placed and isinstance(placed[-1], Text):
            placed[-1] = Text(placed[-1].words + node.words, Span(placed[-1].span.start, span.end))
        elif str(node):
            placed.append(replace(node, span=span))
    return Caption(tuple(placed))
