"""From a checked request to a saved clip: what all verbs that make one have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from openreels.cli.terminal import no_library_bars, progress_bar, show_json, warnings_of

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
    given = {name: value for name, value in fields.items() if value is not None}
    if "resolution" in given:
        given["resolution"] = given["resolution"].lower()  # 720P is written as well
    return Request.parse_strings(given)


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
    check_apart(request, output)
    can = check_model(request, model)
    check_output(output, video=request.with_video, audio=request.with_audio, still=request.modality == "image")
    media = {} if can is None else check_media(request, can)
    request = enhance(decided(request, media, can))

    from openreels.encoders.text import PromptWarning

    begin = perf_counter()
    with warnings_of(PromptWarning), progress_bar(f"{model} generates", quiet=as_json) as progress:
        reel = loaded(model, request.task)
        recipe = reel.recipe(request)
        before(recipe)
        work = output.with_name(f"{output.name}.work")
        clip = reel(request, progress, work, **({"media": media} if media else {}))  # V3 reads its files itself
        clip.save(output)
        clear(work)
    seconds = perf_counter() - begin

    if as_json:
        show_json({"output": str(output), "seconds": round(seconds, 3), **clip.facts(), "recipe": asdict(recipe)})
    else:
        print(f"{output}: {clip!r}, made in {seconds:.1f} s")


def clear(work: Path) -> None:
    """Deletes finished parts, and their folders if nothing else is in them."""
    # V3's parts lie in a folder of their request, which has the fingerprint's name.
    for folder in (*work.glob("[0-9a-f]" * 16), work):
        for part in folder.glob("*.safetensors"):
            part.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


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


def check_apart(request: Request, output: Path) -> None:
    """Raises RequestError where the result would take the place of what it is made of."""
    from openreels.request import RequestError

    for name, path in request.files.items():
        if output.exists() and output.samefile(path):
            raise RequestError(f"{output} is also given as {name}, and would be lost; accepted is any other name")


def check_model(request: Request, model: str) -> Capabilities | None:
    """What a V4 model can do. Raises RequestError where there is no such model, or where it is known not to do what is
    asked.

    None of a V3 model, whose files are checked at once, and of a hub id: what an unknown one can do is known only when
    it has loaded; it checks for itself then. Raises MediaError as well, for files of V3.
    """
    from openreels.pipelines.registry import adapted, available, capabilities, family, find
    from openreels.request import check

    model, _ = adapted(model)
    known = {card.name: card.capabilities for card in available()}
    if model in known:
        check(request, known[model], model, known)
    folder = find(model)
    if not isinstance(folder, Path) or family(folder) == "v3":
        from openreels.pipelines.v3.precheck import precheck

        precheck(request, model, folder, known)
        return None
    if model in known:
        return known[model]
    can = capabilities(folder)
    check(request, can, model, known)
    return can


def check_media(request: Request, can: Capabilities) -> dict[str, Clip]:
    """The clips of a request's files by their paths.

    The task is begun, and left before anything is sampled: raises RequestError or MediaError where media do not fit
    together, or do not fit the model.
    """
    from openreels.media import Clip
    from openreels.tasks.making import making
    from openreels.tasks.window import Model

    media = {path: Clip.open(path) for path in request.files.values()}
    # Pocket's, and that of all models that are warm-started: 4 x 16 x 16 pixels to a token.
    begun = making(request.filled(can), Model(can, side=16, group=4, channels=1), media.__getitem__)
    next(begun)
    begun.close()
    return media


def decided(request: Request, media: Mapping[str, Clip], can: Capabilities | None) -> Request:
    """With the cut that "auto" stands for, which the user is told. can: of a V4 model; a new shot of V3 is short.

    Raises RequestError, MediaError.
    """
    if request.transition != "auto":
        return request
    from openreels.media import Clip
    from openreels.pipelines.registry import NEW_SHOT
    from openreels.shots.transition import decide

    clip = media.get(request.video) or Clip.open(request.video)
    request, choice = decide(request, clip, NEW_SHOT if can is None else None)
    print(f"openreels: transition {choice.kind}: {choice.why}.", file=sys.stderr)
    return request


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
