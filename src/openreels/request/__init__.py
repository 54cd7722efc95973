"""`Request`: a user's wish, whatever the entrance; and what a model can do of it.

A request is checked three times: for itself (types and ranges by pydantic, what goes together by `combinations`) and
against a model's `Capabilities` (`check`), both before any model loads; and against its media when they are read,
before anything is sampled. A failure is one sentence: which field, what was given, what is accepted.
"""

from openreels.request.capabilities import Capabilities, check
from openreels.request.errors import RequestError, shown
from openreels.request.parts import (
    Aspect,
    KeyFrame,
    Mask,
    Modality,
    Reference,
    SoundKind,
    Speaker,
    Transition,
    Use,
)
from openreels.request.request import Request, explain

__all__ = [
    "Aspect",
    "Capabilities",
    "KeyFrame",
    "Mask",
    "Modality",
    "Reference",
    "Request",
    "RequestError",
    "SoundKind",
    "Speaker",
    "Transition",
    "Use",
    "check",
    "explain",
    "shown",
]
