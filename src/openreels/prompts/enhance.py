"""From what a user names to an enhancer."""

from __future__ import annotations

from openreels.prompts.embedded import Embedded
from openreels.prompts.enhanced import Enhancer

__all__ = ["find_enhancer"]


def find_enhancer(name: str = "embedded", model: str | None = None, pictures: bool = False) -> Enhancer:
    """name: "embedded", the address of a chat endpoint (http://localhost:8000/v1), or a local chat model: a folder or
    a hub id. model: what the endpoint calls it. pictures: show it the references. Nothing is loaded or asked yet.

    Raises ValueError where these do not fit together.
    """
    is_address = "://" in name
    if is_address and not model:
        raise ValueError(f"the enhancer at {name} needs the name of its model")
    if model and not is_address:
        raise ValueError(f"the enhancer {name} takes no model beside it; accepted with one is an address such as "
                         "http://localhost:8000/v1")  # fmt: skip
    if pictures and not is_address:
        raise ValueError(f"the enhancer {name} reads text alone; accepted with pictures is an address such as "
                         "http://localhost:8000/v1")  # fmt: skip
    if name == "embedded":
        return Embedded()

    from openreels.prompts.chat import ChatEnhancer
    from openreels.prompts.endpoint import Endpoint
    from openreels.prompts.local import LocalChat

    return ChatEnhancer(Endpoint(name, model, pictures=pictures) if is_address else LocalChat(name))
