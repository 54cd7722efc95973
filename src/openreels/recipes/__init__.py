"""Recipes: functions that return complete, typed configurations."""
