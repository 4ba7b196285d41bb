"""What a plugin's command is written with; `behest_commands` adds it.

    def stars(run: Run, *, as_json: AsJson = False, stack: Stack = None) -> None:
        store = store_of(stack)
        ...
        write_json(found) if as_json else write_blocks(blocks)

- `Run`, `Runs`, `Session`, `Since`, `Stack` and `AsJson` are arguments and options as behest's own commands have them.
- `store_of` is where `--stack` and the environment lead to; `states_of` are the runs that a command is about.
- `write_blocks` writes what panels are made of, so a command and a panel can share a function. `write_json` writes a line.
- A command that can't do what it was asked to raises CommandError, and ends with that one line. So it does with any BehestError,
  ValueError and error of AWS; anything else is a bug, and shows a traceback.

This module needs the extra `cli`: import it in `behest_commands`, not at the top of a plugin, which runs without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer
from msgspec.json import encode

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, CommandError, Run, Runs, Since, Stack, named_runs
from behest_core.cli.drawing import write_blocks
from behest_core.terminal import say, write_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.state import RunState
    from behest_core.store import RunStore

__all__ = [
    "AsJson",
    "CommandError",
    "Run",
    "Runs",
    "Session",
    "Since",
    "Stack",
    "say",
    "states_of",
    "store_of",
    "write_blocks",
    "write_json",
]

Session: TypeAlias = Annotated[str | None, typer.Option(metavar="ID", help="All runs of a session.")]

MOST: Final = 10_000
"""How many runs a command adds up at most: 100 requests of states."""


def store_of(stack: str | None) -> RunStore:
    """Return the store of the stack that `--stack` names, else of the tables that the environment names.

    Credentials and region are those of the AWS CLI. Raises ConfigurationError.
    """
    return aws.connect(stack)


def states_of(
    store: RunStore,
    runs: list[str] | None,
    *,
    session: str | None = None,
    since: str | None = None,
    extension: str | None = None,
) -> Iterator[RunState]:
    """Return the states of the runs that are named, or of those of a session or created since then, newest first; by an index.

    At most MOST; it says so where there are more. With `extension`, one of the plugin's, it raises CommandError where that has a
    slice of none of them, and says what to type. Raises RunNotFoundError, CommandError where there is no run, and
    typer.BadParameter where none of the three is given.
    """
    number, is_folded = 0, extension is None
    for number, state in enumerate(_found(store, runs, session, since), start=1):
        if number > MOST:
            say(f"there are more than {MOST:,} such runs: these are the newest; ask for less with --since")
            break
        is_folded = is_folded or extension in state.extensions
        yield state
    if not number:
        raise CommandError("there are no such runs, or none that is folded yet; behest runs lists all")
    if not is_folded:
        raise CommandError(
            f"extension {extension} has folded none of these yet; behest rebuild --extension {extension} does"
        )


def _found(store: RunStore, runs: list[str] | None, session: str | None, since: str | None) -> Iterable[RunState]:
    named = named_runs(runs, session=session, since=since)
    if named:
        return map(store.get_state, named)
    if session is None and since is None:
        raise typer.BadParameter("give run ids, --session ID or --since TIME")
    return store.states(session_id=session, since=since, limit=MOST + 1)


def write_json(value: object) -> None:
    """Write what msgspec can encode as one line of JSON."""
    write_line(encode(value))
