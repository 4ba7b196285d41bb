"""What `behest show` writes below a run's head: the tree it is in, what was said last, and what plugins show of it.

The head is all there is to see of the state; what is read beyond it may not be readable, and that is then said in its place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from behest_core.cli.aws import explain
from behest_core.cli.drawing import write_drawn, write_section
from behest_core.errors import MalformedEventError
from behest_core.plugins.panels import Facts, Note, PanelInput, Rows, Tokens, Usd
from behest_core.transcript.entries import Call, Message, Pause, Step, Tool
from behest_core.transcript.reading import TranscriptReader
from behest_core.web.tree import read_tree
from behest_core.wording import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console

    from behest_core.model.state import RunState
    from behest_core.model.summary import Summary
    from behest_core.plugins.loading import Plugins
    from behest_core.plugins.panels import Block
    from behest_core.store import RunStore
    from behest_core.transcript.entries import Part

_RUNS: Final = 20
"""How many runs of a tree are shown."""

_EVENTS: Final = 400
"""In how many events, from the last one back, it is looked for what was said."""

_WORDS: Final = 3
_LONGEST: Final = 400  # characters


def write_sections(store: RunStore, plugins: Plugins, state: RunState, summary: Summary, console: Console) -> None:
    """Write what there is to say of a run beyond its head."""
    _write(console, "Runs of its tree", partial(_tree, store, plugins, state))
    _write(console, "Last words", partial(_last_words, store, state))
    seen = PanelInput(state=state, summary=summary, events=partial(store.events, state.run_id))
    write_drawn(plugins.panels("run", seen), console)


def _write(console: Console, title: str, read: Callable[[], Sequence[Block]]) -> None:
    try:
        blocks = read()
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        blocks = [Note(f"can't be read: {line}", "warning")]
    if blocks:
        write_section(title, blocks, console)


# ---------------------------------------------------------------- the tree


def _tree(store: RunStore, plugins: Plugins, state: RunState) -> Sequence[Block]:
    if state.session_id is None and not plugins.summary(state).parent_run_id:
        return []
    tree = read_tree(store, plugins.summary, state.run_id)
    if len(tree.rows) == 1:
        return []
    columns = ["run", "agent", "status", "tokens", "cost"]
    rows = []
    for node in tree.rows[:_RUNS]:
        run = node.summary
        rows.append(
            [
                f"{'  ' * node.depth}{node.run_id}",
                run.agent_name if run else None,
                str(run.status) if run else "not found",
                Tokens(run.total_tokens) if run else None,
                Usd(run.nano_usd) if run and run.nano_usd is not None else None,
            ]
        )
    all_of_it = tree.rows[0].all
    told = (
        f"{amount(all_of_it.runs, 'run')}, {amount(all_of_it.input_tokens + all_of_it.output_tokens, 'token')} in all"
    )
    if len(tree.rows) > _RUNS:
        told = f"and {len(tree.rows) - _RUNS:,} more; {told}"
    return [Rows(columns, rows), Note(told if tree.is_whole else f"{told}, of those that were looked at")]


# ---------------------------------------------------------------- the last words


def _last_words(store: RunStore, state: RunState) -> Sequence[Block]:
    reader = TranscriptReader(state.run_id, None)
    after = max(state.sequence - _EVENTS, 0)
    try:
        for each in store.events(state.run_id, after=after, limit=min(_EVENTS, state.sequence)):
            reader.add(each.event, each.sequence)
    except MalformedEventError:
        pass  # the run is parked there, which its head says
    said = [(who, " ".join(text.split())) for who, text in _words(reader.transcript.entries) if text.strip()]
    return [Facts([(who, _cut(text)) for who, text in said[-_WORDS:]])] if said else []


def _words(entries: Iterable[Part]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        match entry:
            case Message():
                yield entry.role, entry.text
            case Call():
                yield "assistant", entry.text
                yield from _words(entry.tools)
                yield "failed", entry.error or ""
            case Tool():
                yield f"tool {entry.name}", entry.error or entry.refused or ""
            case Step():
                yield from _words(entry.entries)
            case Pause():
                yield "paused", entry.reason


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
