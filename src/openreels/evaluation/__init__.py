"""Honest numbers: an oracle that measures clips of the pocket world from pixels and samples alone, and a benchmark."""

from openreels.evaluation.oracle import Seen, Sight, contact_matches, listen, look, mouth_correlation
from openreels.evaluation.suite import Report, evaluate, print_report, save_report

__all__ = [
    "Report",
    "Seen",
    "Sight",
    "contact_matches",
    "evaluate",
    "listen",
    "look",
    "mouth_correlation",
    "print_report",
    "save_report",
]
