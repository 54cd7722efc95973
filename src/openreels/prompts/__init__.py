"""Prompts: the grammar of structured captions and @tags, and enhancers that write such captions from free text."""

from openreels.prompts.caption import Caption
from openreels.prompts.embedded import Embedded
from openreels.prompts.enhance import find_enhancer
from openreels.prompts.enhanced import Enhanced, Enhancer
from openreels.prompts.grammar import PromptError, check_tags, parse

__all__ = ["Caption", "Embedded", "Enhanced", "Enhancer", "PromptError", "check_tags", "find_enhancer", "parse"]
