"""The `behest` command: `app` has all its commands, each of them a module of its own.

What they share is three things:

- Reaching AWS. `aws`: from --stack or the environment to a RunStore, and from an error to the line that says what to do.
- What is on the line, read and written. `arguments`: what several commands take, and asking; `lines`: JSON lines in;
  `progress`: how far it has come. What goes to a terminal and what to a pipe is for `behest_core.terminal`.
- Many runs. `runs`: which they are, many at once, one's trouble kept from the others; `outcomes`: what became of each.
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
