"""Shots: where a clip is cut and how, and which cut may come next. Needs the extra `shots` (PySceneDetect, OpenCV)."""

from openreels.shots.classifier import CUT_KINDS, SINGLE_SHOT
from openreels.shots.detector import Shot, detect_shots
from openreels.shots.transition import Choice, choose_transition, decide

__all__ = ["CUT_KINDS", "SINGLE_SHOT", "Choice", "Shot", "choose_transition", "decide", "detect_shots"]
