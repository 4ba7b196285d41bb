"""The demo from beginning to end."""

from __future__ import annotations

import threading
import time
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import boto3
import typer
from rich.live import Live
from rich.text import Text

from behest_core.demo.agent import ScriptedAgent
from behest_core.demo.questions import ask_all, ask_plugins
from behest_core.demo.scripts import SCRIPTS
from behest_core.demo.view import Lines, Screen
from behest_core.plugins.loading import ALL, load
from behest_core.projection.verify import verify
from behest_core.terminal import results
from behest_core.testing import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from rich.console import Console

    from behest_core.demo.agent import Agent
    from behest_core.demo.view import View
    from behest_core.fold.dispatch import Dispatch
    from behest_core.plugins.loading import Plugins
    from behest_core.store import RunStore
    from behest_core.web.server import Served

_REFRESH_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 30.0


def run_demo(*, with_page: bool = False) -> None:
    """Show the demo, with a page of it in the browser where that is asked for, until Ctrl-C.

    Raises typer.Exit with 1 where a state is not the fold of its log.
    """
    console = results()
    console.print(
        "behest demo: twelve scripted agents write, the projector folds, in this process.\n"
        "DynamoDB is moto's; tables, handler and stream settings are template.yaml's.\n",
    )
    plugins = load([ALL])
    if plugins.used:
        names = ", ".join(plugin.name for plugin in plugins.used)
        console.print(f"Plugins that are installed, and fold as well: {names}.\n")
    with LocalStack(plugins=[plugin.name for plugin in plugins.used]) as stack, ExitStack() as things:
        agents: list[Agent] = [ScriptedAgent(stack.store, script, number) for number, script in enumerate(SCRIPTS)]
        agents += _real_agents(console, stack.store)
        page = things.enter_context(_page(console, stack.store, plugins)) if with_page else None
        with stack.running(), _view(console, stack, agents) as view:
            _play(stack.store, agents, view)
        states = boto3.resource("dynamodb").Table(stack.state_table)
        ask_all(console, stack.store, stack.dynamodb, states)
        ask_plugins(console, stack.store, plugins)
        right = sum(_is_right(stack.store, agent.run_id, plugins.dispatch) for agent in agents)
        _conclude(console, right, agents, has_page=with_page)
        if page is not None:
            console.print(Text(f"The page is at {page.url} until Ctrl-C."))
            page.thread.join()
    if right < len(agents):
        raise typer.Exit(1)


@contextmanager
def _page(console: Console, store: RunStore, plugins: Plugins) -> Iterator[Served]:
    """Serve the page of the runs, and open it."""
    from behest_core.web.application import App  # noqa: PLC0415 (needs the extra `web`)
    from behest_core.web.server import served  # noqa: PLC0415

    with served(App(store, plugins)) as page:
        console.print(Text(f"The page of these runs: {page.url}\n"))
        threading.Thread(target=webbrowser.open, args=(page.url,), daemon=True).start()
        yield page


def _real_agents(console: Console, store: RunStore) -> list[Agent]:
    try:
        from behest_core.demo.strands_agent import StrandsAgent  # noqa: PLC0415 (needs behest-strands)
    except ImportError:
        console.print("To have a real agent of Strands write as well: pip install behest-strands\n")
        return []
    console.print("One more agent is real: of Strands Agents, with a stub for its model, recorded by behest-strands.\n")
    return [StrandsAgent(store)]


@contextmanager
def _view(console: Console, stack: LocalStack, agents: Sequence[Agent]) -> Iterator[View]:
    if not console.is_terminal:
        yield Lines(console, agents)
        return
    # the function's output is taken from the thread it runs in; rich would take everybody's
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield Screen(live, agents, stack.mapping)


def _play(store: RunStore, agents: Sequence[Agent], view: View) -> None:
    """Let the agents write, and show the states until they have caught up with the logs."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(agents)) as pool:
        try:
            playing = [pool.submit(agent.play, stop) for agent in agents]
            _watch(store, agents, view, playing)
        finally:
            stop.set()
        for agent_run in playing:
            agent_run.result()


def _watch(store: RunStore, agents: Sequence[Agent], view: View, playing: Sequence[Future[None]]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    is_over = False
    while not is_over and time.monotonic() < deadline:
        have_ended = all(future.done() for future in playing)
        states = store.get_states(agent.run_id for agent in agents)
        view.show(states)
        is_over = have_ended and all(
            agent.run_id in states and states[agent.run_id].sequence == agent.appended for agent in agents
        )
        time.sleep(_REFRESH_SECONDS)


def _is_right(store: RunStore, run_id: str, dispatch: Dispatch) -> bool:
    """Return whether a run's state is the fold of its whole log, done again in one go, the plugins' slices included."""
    verdict = verify(store.event_log, store.state_table, run_id, dispatch)
    return verdict.is_right and verdict.behind == 0


def _conclude(console: Console, right: int, agents: Sequence[Agent], *, has_page: bool) -> None:
    events, commits = sum(agent.appended for agent in agents), sum(agent.commits for agent in agents)
    style = "bold green" if right == len(agents) else "bold red"
    console.print()
    console.print(
        Text(f"{right} of {len(agents)} states equal the fold of their logs", style=style),
        Text(f"({events} events, {commits} commits)"),
    )
    if not has_page:
        console.print("To look at these runs in a browser: behest demo --ui", style="dim")
    console.print("Next: deploy it, as the README says, and ask: behest runs --stack NAME", style="dim")
