"""Cases of every task of the V4 table with their exact truth: what a user hands over, and what should come out.

example = sample_example("recolour", seed=0)
shown = show(example, frames=33, height=64, width=64)      # target, source, masks and references as tensors
"""

from openreels.world.examples.example import Example, Reference, Region
from openreels.world.examples.rendering import Shown, page_columns, show, show_many
from openreels.world.examples.rows import GROUPS, ROWS, Row, sample_example

__all__ = [
    "GROUPS",
    "ROWS",
    "Example",
    "Reference",
    "Region",
    "Row",
    "Shown",
    "page_columns",
    "sample_example",
    "show",
    "show_many",
]
