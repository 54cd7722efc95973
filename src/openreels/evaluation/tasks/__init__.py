"""Is a task done? Success rates of every row of the task table, judged from pixels and samples on held-out cases.

A judge answers yes or no for a clip of a case (`judges`): by the oracle where the result is free (`pictures`, `sounds`,
`cuts`), and for edits, whose timing and places the source gives, by which of all possible edits the clip is nearest to
(`alternatives`, `nearest`). Judges are judged too: by what they say of the true result and of doing nothing.
"""

from openreels.evaluation.tasks.cases import Case, case_of, request_of
from openreels.evaluation.tasks.judges import JUDGES, Judge
from openreels.evaluation.tasks.suite import (
    TaskReport,
    TaskRow,
    chosen_rows,
    evaluate_tasks,
    print_task_report,
    save_task_report,
)

__all__ = [
    "JUDGES",
    "Case",
    "Judge",
    "TaskReport",
    "TaskRow",
    "case_of",
    "chosen_rows",
    "evaluate_tasks",
    "print_task_report",
    "request_of",
    "save_task_report",
]
