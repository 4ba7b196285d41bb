"""The `behest` command: `app` has all its commands, each of them a module of its own.

What they share:

- `connection`: from --stack or the environment to a RunStore.
- `failures`: from an error to one line that says what to do.
- `terminal`: what goes to a terminal, and what to a pipe.
- `lines`: JSON lines in, progress out.
- `options` and `given`: what stands on the command line.
- `history`: a run's state as it was.
- `every_run`, `side_by_side` and `runs_bar`: which runs, many at once, and how far that has come.
- `folded_run` and `verdicts`: what became of a run that was folded or checked.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; say what to install where the extra `cli` isn't there."""
    try:
        from behest_core.cli.app import app  # noqa: PLC0415 (typer and rich may be missing)
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit("behest: the command needs typer and rich; run: pip install 'behest-core[cli]'")
    app()
