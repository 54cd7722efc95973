"""Objective, stages, trainer and checkpoints."""
