"""Recipes: functions that return complete, typed configurations."""

RECIPES = {"pocket": "openreels.recipes.pocket"}
"""Name -> module with `plan()` and `export(plan, workdir, folder)`."""
