"""The prompt on its way from the command line to a model: checked where it stands, rewritten, shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from openreels.cli.terminal import warn

if TYPE_CHECKING:
    from openreels.request import Request

__all__ = ["enhancing", "point_at_fault"]


def point_at_fault(prompt: str, tags: tuple[str, ...]) -> None:
    """Shows the place where a prompt breaks the grammar, or mentions what none of the references is, where there are
    any; the sentence about it comes at the end, as with Python's own syntax errors. Raises RequestError."""
    from openreels.prompts import PromptError, check_tags, parse
    from openreels.request import RequestError

    try:
        caption = parse(prompt.strip(), tags)
        if tags:
            check_tags(caption, tags)
    except PromptError as error:
        print(error.excerpt, file=sys.stderr)
        raise RequestError(f"prompt, {error.sentence}") from error


def enhancing(
    wanted: bool | None, name: str | None, chat_model: str | None, pictures: bool, model: str, quiet: bool
) -> Callable[[Request], Request]:
    """What the flags make of a request. wanted: None where the user did not say. model: that the prompt is for.

    Raises RequestError where the flags do not fit together.
    """
    from openreels.prompts import find_enhancer
    from openreels.prompts.chat import ChatEnhancer
    from openreels.request import RequestError

    named = name is not None or chat_model is not None or pictures
    if wanted is False and named:
        raise RequestError("--no-enhance and --enhancer contradict each other; accepted is one of them")
    able = knows_captions(model)
    if wanted is None:
        wanted = named or able is True
    if wanted and able is False:
        raise RequestError(f"{model} has learned from plain captions alone; accepted is --no-enhance")
    try:
        enhancer = find_enhancer(name or "embedded", chat_model, pictures)
    except ValueError as error:
        raise RequestError(str(error)) from error

    def enhanced(request: Request) -> Request:
        made = enhancer(request.prompt, request.captioned, request.tagged)
        if isinstance(enhancer, ChatEnhancer):
            enhancer.chat.unload()  # a video model comes next, and wants all the memory there is
        for sentence in made.warnings:
            warn(sentence)
        if made.changed and not quiet:
            print(f"prompt, by {made.by}: {made.prompt}", flush=True)
        return request.rewritten(made)

    return enhanced if wanted else lambda request: request


def knows_captions(model: str) -> bool | None:
    """Whether a model has learned from structured captions; None for a hub id, of which nothing is known yet."""
    from openreels.pipelines.registry import adapted, available, family

    model, _ = adapted(model)
    known = {card.name: card.capabilities.structured for card in available()}
    if model in known:
        return known[model]
    return family(Path(model)) == "v4" if Path(model).is_dir() else None
