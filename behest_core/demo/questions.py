"""The questions that the demo asks of the tables in the end. The code it shows is the code that ran."""

from __future__ import annotations

import inspect
from collections import defaultdict
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Key
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from behest_core.dynamodb.items import state_from_item
from behest_core.model.state import RunState, RunStatus
from behest_core.terminal import clean, second_text, status_text, write_result
from behest_core.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from behest_core.plugins.loading import Plugins
    from behest_core.store import RunStore

_ASKED: Final = "fix-billing-tests"

# ---------------------------------------------------------------- what is shown, without `return`


def _failed(store: RunStore) -> Iterable[RunState]:
    return store.states(status=RunStatus.FAILED)


def _under_way(store: RunStore) -> Iterable[RunState]:
    return store.states(status=RunStatus.CALLING_MODEL)


def _of_session(states: Any) -> Any:  # noqa: ANN401 (boto3's resource)
    return states.query(IndexName="by_session", KeyConditionExpression=Key("session_id").eq("alice"))


def _used(dynamodb: Any, state_table: str) -> Any:  # noqa: ANN401 (boto3's client)
    statement = f'SELECT provider, model, total_usage FROM "{state_table}"'  # noqa: S608
    return dynamodb.execute_statement(Statement=statement)


def _as_it_was(store: RunStore, run_id: str) -> RunState:
    return store.state_at(run_id, sequence=12)


def _slices(store: RunStore) -> list[Any]:
    return [state.extensions["cost"].state for state in store.states()]


def _waiting(store: Any) -> list[Any]:  # noqa: ANN401 (a slice is whatever its plugin made)
    runs = store.states(status=RunStatus.CALLING_MODEL)
    return [state for state in runs if state.extensions["approvals"].state["waiting"]]


def _tools(store: Any) -> list[Any]:  # noqa: ANN401 (a slice is whatever its plugin made)
    return [state.extensions["tools"].state["tools"] for state in store.states()]


def _lineages(store: RunStore) -> dict[str, Any]:
    return {state.run_id: state.extensions["lineage"].state for state in store.states()}


# ---------------------------------------------------------------- asking


def ask_all(console: Console, store: RunStore, dynamodb: Any, states: Any) -> None:  # noqa: ANN401
    """Ask, and print the answers. `dynamodb` is boto3's client, `states` boto3's resource of the state table."""
    _ask(console, "Which runs failed, and why?", _failed)
    _answer(console, ((state.run_id, clean(state.last_error or "")) for state in _failed(store)))

    _ask(console, "Which are under way, and since when has nothing been heard of them?", _under_way)
    _answer(console, ((state.run_id, f"silent since {second_text(state.updated_at)}") for state in _under_way(store)))

    _ask(console, "Which runs belong to this session? With boto3:", _of_session)
    _answer(console, ((item["run_id"], item["created_at"]) for item in _of_session(states)["Items"]))

    _ask(console, "How many tokens did each model use? With PartiQL:", _used)
    _answer(console, _by_model(_used(dynamodb, store.state_table.table)["Items"]), numbers=True)

    _ask(console, f"What was the state of {_ASKED} after 12 events?", _as_it_was)
    state = _as_it_was(store, _ASKED)
    tokens = f"{count_text(state.total_usage.total_tokens)} tokens"
    _answer(console, [(status_text(state.status), f"iteration {state.iteration}", tokens)])


def ask_plugins(console: Console, store: RunStore, plugins: Plugins) -> None:
    """Ask what the slices of behest's own plugins answer, of those that are installed."""
    extensions = {extension.name for plugin in plugins.used for extension in plugin.extensions}
    if "cost" in extensions:
        _ask(console, "What did each model cost? With the plugin behest-cost:", _slices)
        _answer(console, _costs(_slices(store)), numbers=True)
    if "approvals" in extensions:
        _ask(console, "Which wait for a person, and for what? With the plugin behest-approvals:", _waiting)
        _answer(console, (row for state in _waiting(store) for row in _approvals(state)))
    if "tools" in extensions:
        _ask(console, "Which tools were called, and did they work? With the plugin behest-tools:", _tools)
        _answer(console, _calls(_tools(store)), numbers=True)
    if "lineage" in extensions:
        _ask(console, "Which run began which? With the plugin behest-lineage:", _lineages)
        known = _lineages(store).items()
        _answer(console, ((each["parent_run_id"], run_id) for run_id, each in known if each["parent_run_id"]))


def _ask(console: Console, question: str, code: Callable[..., object]) -> None:
    console.print()
    console.print(Text(question, style="bold"))
    lines = inspect.getsource(code).splitlines()[1:]
    body = dedent("\n".join(line.partition("  # noqa")[0] for line in lines)).replace("return ", "")
    shown = Syntax(body, "python", theme="ansi_light", background_color="default", word_wrap=True)
    write_result(console, Padding(shown if console.is_terminal else Text(body), (0, 0, 0, 2), expand=False))


def _answer(console: Console, rows: Iterable[tuple[str | Text, ...]], *, numbers: bool = False) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for place, row in enumerate(rows):
        if not place:
            for column in range(len(row)):
                table.add_column(justify="right" if numbers and column else "left", overflow="fold")
        table.add_row(*row)
    write_result(console, Padding(table, (0, 0, 0, 2), expand=False))


def _by_model(items: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Add up the tokens of the states' items by provider and model."""
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for item in items:
        state = state_from_item({"run_id": {"S": "-"}, **item})
        usage = state.total_usage
        added = totals[f"{state.provider} {state.model}"]
        added[0] += usage.input_tokens
        added[1] += usage.cache_read_input_tokens or 0
        added[2] += usage.output_tokens
    return [
        (model, f"{count_text(read)} in", f"{count_text(cached)} of them cached", f"{count_text(written)} out")
        for model, (read, cached, written) in sorted(totals.items())
    ]


def _costs(slices: Iterable[Any]) -> list[tuple[str, ...]]:
    """Add up the slices of behest-cost by model."""
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for cost in slices:
        for model, used in cost["models"].items():
            for place, name in enumerate(("calls", "nano_usd", "unpriced_calls")):
                totals[model][place] += used[name]
    return [
        (
            model.replace("/", " ", 1),
            f"{count_text(calls)} calls",
            f"{nano_usd / 10**9:.4f} USD",
            f"{unpriced} without a price" if unpriced else "",
        )
        for model, (calls, nano_usd, unpriced) in sorted(totals.items())
    ]


def _approvals(state: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401
    """Return the pending requests of a run's slice of behest-approvals."""
    pending = state.extensions["approvals"].state["pending"]
    return [
        (state.run_id, clean(asked.get("tool") or call), f"since {second_text(asked['since'])}")
        for call, asked in pending.items()
    ]


def _calls(slices: Iterable[Any]) -> list[tuple[str, ...]]:
    """Add up the slices of behest-tools by tool."""
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for tools in slices:
        for name, tool in tools.items():
            total = totals[name]
            total[0] += tool["calls"]
            total[1] += tool["errors"]
            total[2] = max(total[2], tool["longest_ms"])
    return [
        (clean(name), f"{calls} call{'s' if calls > 1 else ''}", f"{errors} failed", f"{longest} ms at most")
        for name, (calls, errors, longest) in sorted(totals.items())
    ]
