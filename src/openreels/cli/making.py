"""From a checked request to a saved clip: what all verbs that make one have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import TYPE_CHECKING, Any

from openreels.cli.terminal import no_library_bars, progress_bar, show_json

if TYPE_CHECKING:
    from openreels.media import Clip
    from openreels.media.recipe import Recipe
    from openreels.pipelines.reel import Reel
    from openreels.request import Capabilities, Request

__all__ = ["loaded", "make", "request_of"]


def request_of(fields: Mapping[str, Any]) -> Request:
    """The request of what was typed; None is what was not. Raises RequestError."""
    from openreels.cli.enhancing import point_at_fault
    from openreels.request import Request
    from openreels.request.request import SOURCE

    tags = tuple(reference["tag"] for reference in fields.get("references", ()))
    # Of an edit the prompt may name the clip itself.
    point_at_fault(fields["prompt"], (*tags, SOURCE) if tags and fields.get("use") == "edit" else tags)
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
    can = check_model(request, model)
    check_output(output, video=request.with_video, audio=request.with_audio, still=request.modality == "image")
    media = {} if can is None else check_media(request, can)
    request = enhance(request)

    begin = perf_counter()
    with progress_bar(f"{model} generates", quiet=as_json) as progress:
        reel = loaded(model, request.task)
        recipe = reel.recipe(request)
        before(recipe)
        work = output.with_name(f"{output.name}.work")
        clip = reel(request, progress, work, **({"media": media} if media else {}))  # V3 reads its files itself
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
        if name.startswith("references"):
            continue  # a picture, a clip or a sound
        is_sound = name.startswith(("the audio", "the voice"))
        if (found.audio if is_sound else found.video) is None:
            wanted = "a file with sound" if is_sound else "a picture or a clip"
            raise RequestError(f"{name} must be {wanted}, not {path}")


def check_model(request: Request, model: str) -> Capabilities | None:
    """What a V4 model can do. Raises RequestError where there is no such model, or where it is known not to do what is
    asked.

    None of a V3 model, and of a hub id: what that can do is known only when it has loaded; it checks for itself then.
    """
    from openreels.pipelines.registry import V3, adapted, available, capabilities, family, find
    from openreels.request import RequestError, check

    model, _ = adapted(model)
    known = {card.name: card.capabilities for card in available()}
    if model in known:
        check(request, known[model], model, known)
    folder = find(model)
    if not isinstance(folder, Path):
        return None
    if family(folder) == "v3":
        from openreels.pipelines.v3.loading import detect

        try:
            variant = detect(folder).variant
        except ValueError as error:
            raise RequestError(f"the model {model} cannot be loaded: {error}") from error
        check(request, V3[variant], model, known)
        check_pictures(request, model)
        return None
    if model in known:
        return known[model]
    can = capabilities(folder)
    check(request, can, model, known)
    return can


def check_pictures(request: Request, model: str) -> None:
    """Raises RequestError for a reference that V3 cannot see."""
    from openreels.media.probe import probe
    from openreels.request import RequestError

    for reference in request.references:
        if probe(reference.path).video is None:
            raise RequestError(f"references of {model} must be pictures, not {reference.path}")


def check_media(request: Request, can: Capabilities) -> dict[str, Clip]:
    """The clips of a request's files by their paths.

    The task is begun, and left before anything is sampled: raises RequestError or MediaError where media do not fit
    together, or do not fit the model.
    """
    if not request.files:
        return {}
    from openreels.media import Clip
    from openreels.tasks.making import making
    from openreels.tasks.window import Model

    media = {path: Clip.open(path) for path in request.files.values()}
    # Pocket's, and that of all models that are warm-started: 4 x 16 x 16 pixels to a token.
    begun = making(request.filled(can), Model(can, side=16, group=4, channels=1), media.__getitem__)
    next(begun)
    begun.close()
    return media


def loaded(model: str, task: str | None = None) -> Reel:
    """A model, with what `task` needs of it, by default all.

    Raises RequestError where a folder or a hub id holds no such model, or a damaged one.
    """
    from safetensors import SafetensorError

    from openreels.pipelines import load
    from openreels.pipelines.registry import adapted, available
    from openreels.request import RequestError

    no_library_bars()
    base, _ = adapted(model)
    try:
        return load(model, tasks=None if task is None else (task,))
    except (OSError, ValueError, SafetensorError) as error:  # huggingface_hub refuses a malformed id by a ValueError
        if base not in {card.name for card in available()} and not Path(base).is_dir():
            sentence = f"{base} is no folder here, and no model of that name came from the hub"
        else:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            sentence = f"the model {model} cannot be loaded: {reason or type(error).__name__}"
        raise RequestError(sentence) from error
