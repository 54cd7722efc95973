"""What prompts ask for, as the world knows it. Legend: see training/briefs.py."""

import pytest
import torch

from openreels.encoders.brief import Brief
from openreels.training.briefs import (
    BRIEF_NUMBERS,
    QUESTIONS,
    BriefTask,
    answers_of,
    new_brief,
    prompt_and_answers,
    train_brief,
)
from openreels.training.loop import LoopConfig
from openreels.training.plan import load_components
from openreels.world.examples import sample_example

pytestmark = pytest.mark.usefixtures("one_thread")


def answered(row: str, seed: int) -> tuple[str, dict]:
    example = sample_example(row, seed)
    shots = example.target.shots
    found = answers_of(shots[0].scene, shots[-1].scene, example.target, example.source)
    return example, {question: values[n] for (question, values), n in zip(QUESTIONS.items(), found, strict=True)}


@pytest.mark.parametrize("seed", range(4))
def test_of_an_edit_it_is_known_who_goes_and_who_comes(seed):
    example, said = answered("replace-subject", seed)
    before, after = (film.shots[0].scene.subjects for film in (example.source, example.target))
    (gone,), (new,) = {*before} - {*after}, {*after} - {*before}
    assert (said["gone kind"], said["gone colour"]) == (gone.kind, gone.colour)
    assert (said["new kind"], said["new colour"], said["new pattern"]) == (new.kind, new.colour, new.pattern)
    _, said = answered("remove-subject", seed)
    assert said["gone kind"] is not None and said["new kind"] is None
    _, said = answered("add-subject", seed)
    assert said["gone kind"] is None and said["new kind"] is not None
    _, said = answered("night", seed)
    assert said["gone kind"] is None and said["new kind"] is None


@pytest.mark.parametrize("seed", range(4))
def test_of_a_clip_it_is_known_how_it_looks(seed):
    example, said = answered("style", seed)
    assert said["style"] == example.target.shots[0].scene.style != "plain" and said["move"] is None
    example, said = answered("camera", seed)
    assert said["move"] == example.target.shots[0].move.kind
    example, said = answered("multi-shot", seed)
    assert said["cut"] == example.target.cuts[0]
    assert said["last place"] == example.target.shots[-1].scene.background


def test_prompts_are_of_all_rows_and_a_function_of_their_number():
    drawn = [prompt_and_answers(number) for number in range(500)]
    assert drawn[:20] == [prompt_and_answers(number) for number in range(20)]
    assert len({prompt for prompt, _ in drawn}) > 400
    moves = {answers[[*QUESTIONS].index("move")] for _, answers in drawn}
    assert len(moves) > 2


def test_a_brief_learns_what_prompts_ask_for(parts):
    """Of sixty prompts, again and again: by then it knows more of them than what is likeliest."""
    _, encoder = load_components(parts)
    torch.manual_seed(0)
    task = BriefTask(new_brief(encoder.width), encoder)
    drawn = list(range(60))
    losses = []
    for _ in range(25):
        loss, shown = task.loss(drawn)
        loss.backward()
        losses.append(float(loss.detach()))
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.4 * losses[0]
    assert float(shown["new kind"]) > 0.7
    assert [*shown] == [*QUESTIONS]


def test_it_goes_with_the_text_encoder_that_it_reads(parts, tmp_path):
    _, encoder = load_components(parts)
    brief = train_brief(encoder, LoopConfig(tmp_path, steps=1))
    assert brief.config.reads == encoder.fingerprint
    again = Brief.from_pretrained(tmp_path / "brief")
    assert again.numbers == BRIEF_NUMBERS == sum(map(len, QUESTIONS.values()))
