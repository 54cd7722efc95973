"""Recipes: functions that return complete, typed configurations."""

RECIPES = {"pocket": "openreels.recipes.pocket", "pocket-gpu": "openreels.recipes.pocket_gpu"}
"""Name -> module with `plan()` and `export(plan, workdir, folder)`."""
