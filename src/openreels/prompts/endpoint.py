"""A chat model behind an OpenAI-compatible HTTP endpoint: vLLM, SGLang, llama.cpp, Ollama, or somebody's service.

Only the standard library. The key comes from the environment variable OPENREELS_ENHANCER_KEY and goes to the given
host alone: redirects are not followed. References leave the machine only where `pictures` is asked for.
"""

from __future__ import annotations

import json
import os
import socket
from base64 import b64encode
from collections.abc import Sequence
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from openreels.prompts.chat import ChatError, Message

__all__ = ["KEY", "Endpoint"]

KEY = "OPENREELS_ENHANCER_KEY"
MAX_REPLY = 2**20  # bytes
PICTURE = 768  # pixels, longest side of what is sent
BUSY = (408, 429, 500, 502, 503, 504)  # worth a second try
LOCAL = ("localhost", "127.0.0.1", "::1")


class NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


class Endpoint:
    """url: up to and with the version, such as http://localhost:8000/v1. model: as the server calls it.

    timeout: seconds for one answer. pictures: whether references are sent too, as data URLs. Raises ValueError for a
    url that is none.
    """

    def __init__(self, url: str, model: str, timeout: float = 60.0, pictures: bool = False):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"an enhancer's address must be like http://localhost:8000/v1, not {url}")
        if parts.username or parts.password:
            raise ValueError(f"an enhancer's address holds no name or password; its key is read from {KEY}")
        self.url, self.model, self.timeout, self.pictures = url.rstrip("/"), model, timeout, pictures
        self.name = f"{model} at {parts.hostname}"  # not the url: it may hold a password
        direct = [ProxyHandler({})] if parts.hostname in LOCAL else []
        self.opener = build_opener(NoRedirect, *direct)

    def reply(self, messages: Sequence[Message]) -> str:
        """Asks, and asks again once where the server was busy or could not be reached. Raises ChatError."""
        body = json.dumps(
            {"model": self.model, "messages": [as_data(message) for message in messages], "temperature": 0}
        ).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise ChatError(f"the key in the environment variable {KEY} holds characters that no key has")
            headers["Authorization"] = f"Bearer {key}"
        request = Request(f"{self.url}/chat/completions", body, headers, method="POST")
        try:
            return self.answer(request)
        except Busy:
            return self.answer(request)

    def unload(self) -> None:
        """Its model is somebody else's."""

    def answer(self, request: Request) -> str:
        try:
            with self.opener.open(request, timeout=self.timeout) as response:
                raw = response.read(MAX_REPLY + 1)
        except HTTPError as error:
            with error:
                detail = error.read(2_000).decode("utf-8", "replace")
            kind = Busy if error.code in BUSY else ChatError
            raise kind(f"it answered {error.code} {error.reason}{said_in(detail)}{advice(error.code)}") from error
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError | socket.timeout):
                raise Busy(f"it did not answer in {self.timeout:g} s") from error
            raise Busy(f"it cannot be reached ({getattr(reason, 'strerror', None) or reason})") from error
        if len(raw) > MAX_REPLY:
            raise ChatError(f"its answer is longer than {MAX_REPLY:,} bytes")
        return content_of(raw)


class Busy(ChatError):
    """Worth a second try."""


def advice(code: int) -> str:
    if code in (401, 403):
        return f"; its key is read from the environment variable {KEY}"
    if code == 404:
        return "; the address ends with the version, such as /v1, and the model is one that the server has"
    return ""


def said_in(body: str) -> str:
    """The server's own words, where it gives a reason in the usual form."""
    try:
        error = json.loads(body)["error"]
        reason = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {' '.join(str(reason).split())[:200]}"


def content_of(raw: bytes) -> str:
    """The text of a chat completion. Raises ChatError."""
    try:
        choice = json.loads(raw)["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ChatError("its answer is no chat completion; the address ends with the version, such as /v1") from error
    if not isinstance(content, str):
        raise ChatError("its answer holds no text")
    if choice.get("finish_reason") == "length":
        raise ChatError("its answer was cut off; the server allows too few tokens")
    return content


def as_data(message: Message) -> Message:
    """With pictures as data URLs."""
    if isinstance(message["content"], str):
        return message
    parts = [shown(part["path"]) if part["type"] == "image" else part for part in message["content"]]
    return {**message, "content": parts}


def shown(path: Path) -> dict[str, Any]:
    """A reference as the protocol has it; of a clip or a sound only that it is one."""
    url = data_url(path)
    if url is None:
        return {"type": "text", "text": "(a clip or a sound, which cannot be shown)"}
    return {"type": "image_url", "image_url": {"url": url}}


def data_url(path: Path) -> str | None:
    """A JPEG of at most `PICTURE` pixels, upright; None where it is no picture."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except OSError:
        return None
    picture.thumbnail((PICTURE, PICTURE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
