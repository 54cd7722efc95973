"""From a checked request to a saved clip: what `generate` and `replay` have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import TYPE_CHECKING, Any

from openreels.cli.terminal import no_library_bars, progress_bar, show_json

if TYPE_CHECKING:
    from openreels.media.recipe import Recipe
    from openreels.pipelines.reel import Reel
    from openreels.request import Request

__all__ = ["loaded", "make", "request_of"]


def request_of(fields: Mapping[str, Any]) -> Request:
    """The request of what was typed; None is what was not. Raises RequestError."""
    from openreels.cli.enhancing import point_at_fault
    from openreels.request import Request

    point_at_fault(fields["prompt"], tuple(reference["tag"] for reference in fields.get("references", ())))
    return Request.parse_strings({name: value for name, value in fields.items() if value is not None})


def make(
    request: Request,
    model: str,
    output: Path,
    as_json: bool,
    before: Callable[[Recipe], None] = lambda recipe: None,
    enhance: Callable[[Request], Request] = lambda request: request,
) -> None:
    """Generate, save, and say what was made. before: called with the recipe when the model is loaded. enhance: called
    with the checked request, and gives the one to use.

    All that can be checked without a model is checked first. Finished parts of a long video lie beside it, in
    `OUTPUT.work`, until it is saved: after an interruption the same command goes on. Raises RequestError, MediaError.
    """
    from openreels.media.write import check_output

    check_files(request)
    check_model(request, model)
    check_output(output, video=request.with_video, audio=request.with_audio)
    request = enhance(request)

    begin = perf_counter()
    with progress_bar(f"{model} generates", quiet=as_json) as progress:
        reel = loaded(model, request.task)
        recipe = reel.recipe(request)
        before(recipe)
        work = output.with_name(f"{output.name}.work")
        clip = reel(request, progress, work)
        clip.save(output)
        rmtree(work, ignore_errors=True)
    seconds = perf_counter() - begin

    if as_json:
        show_json({"output": str(output), "seconds": round(seconds, 3), **clip.facts(), "recipe": asdict(recipe)})
    else:
        print(f"{output}: {clip!r}, made in {seconds:.1f} s")


def check_files(request: Request) -> None:
    """Raises MediaError, or RequestError, where a file that is needed is missing or is not what it should be."""
    from openreels.media.probe import probe
    from openreels.request import RequestError

    for name, path in request.files.items():
        found = probe(path)
        is_sound = name.startswith("the audio")
        if (found.audio if is_sound else found.video) is None:
            wanted = "a file with sound" if is_sound else "a picture or a clip"
            raise RequestError(f"{name} must be {wanted}, not {path}")


def check_model(request: Request, model: str) -> None:
    """Raises RequestError where there is no such model, or where it is known not to do what is asked.

    What a hub id can do is known only when it has loaded; it checks for itself then.
    """
    from openreels.pipelines.registry import V3, available, capabilities, family, find
    from openreels.request import RequestError, check

    known = {card.name: card.capabilities for card in available()}
    if model in known:
        check(request, known[model], model, known)
    folder = find(model)
    if isinstance(folder, Path) and family(folder) == "v3":
        from openreels.pipelines.v3.loading import detect

        try:
            variant = detect(folder).variant
        except ValueError as error:
            raise RequestError(f"the model {model} cannot be loaded: {error}") from error
        check(request, V3[variant], model, known)
    elif isinstance(folder, Path) and model not in known:
        check(request, capabilities(folder), model, known)


def loaded(model: str, task: str | None = None) -> Reel:
    """A model, with what `task` needs of it, by default all.

    Raises RequestError where a folder or a hub id holds no such model, or a damaged one.
    """
    from safetensors import SafetensorError

    from openreels.pipelines import load
    from openreels.pipelines.registry import available
    from openreels.request import RequestError

    no_library_bars()
    try:
        return load(model, tasks=None if task is None else (task,))
    except (OSError, ValueError, SafetensorError) as error:  # huggingface_hub refuses a malformed id by a ValueError
        if model not in {card.name for card in available()} and not Path(model).is_dir():
            sentence = f"{model} is no folder here, and no model of that name came from the hub"
        else:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            sentence = f"the model {model} cannot be loaded: {reason or type(error).__name__}"
        raise RequestError(sentence) from error
