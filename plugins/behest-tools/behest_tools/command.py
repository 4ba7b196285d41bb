"""`behest tools`: how the tools of runs performed."""

from behest_core.cli.extending import (
    AsJson,
    CommandError,
    Runs,
    Session,
    Since,
    Stack,
    states_of,
    store_of,
    write_blocks,
    write_json,
)
from behest_tools.panels import blocks_of, sum_of


def show_tools(
    runs: Runs = None, *, session: Session = None, since: Since = None, as_json: AsJson = False, stack: Stack = None
) -> None:
    """Show the tools of runs: how often each was called and failed, and how long it took."""
    states = list(states_of(store_of(stack), runs, session=session, since=since, extension="tools"))
    tools = sum_of(states)
    if as_json:
        write_json({"runs": len(states), "tools": tools})
        return
    if not tools:
        raise CommandError("no tool was called in these runs")
    write_blocks(blocks_of(tools))
