"""From a request and its media to what the model is given, and from what it makes to the clip: every task."""

from __future__ import annotations

from openreels.request import Request
from openreels.tasks.creating import created
from openreels.tasks.editing import edited, scored
from openreels.tasks.extending import extended
from openreels.tasks.filming import filmed
from openreels.tasks.window import Making, Model, Read

__all__ = ["making"]


def making(request: Request, model: Model, read: Read) -> Making:
    """The windows of a request, and at their end its clip, without metadata.

    request: filled with the model's choices. read: gives the clip of a path. Everything that can be wrong raises
    RequestError or MediaError before the first window is given out.
    """
    if request.extends:
        return extended(request, model, read)
    if request.duration is not None and request.duration > model.capabilities.durations[1]:
        return filmed(request, model, read)
    return {"edit": edited, "sound": scored}.get(request.use, created)(request, model, read)
