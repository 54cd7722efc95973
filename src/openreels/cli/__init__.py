"""The command line: one thin file per verb.

A file of this package with a `typer.Typer` named `app` adds its commands; nothing else has to know of it. Verbs import
what they need inside their functions, so that `openreels --help` loads neither torch nor pydantic.
"""
