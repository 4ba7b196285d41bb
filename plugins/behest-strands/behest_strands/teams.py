"""Graphs and Swarms: what several agents do together is a run, and each turn of a node is a step of it.

The agent of a node that has hooks of its own has a run of its own, whose parent is the team's; so has a team in a team. Which
team an agent works for is noted by the agent, as nodes run in tasks of their own.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from strands.hooks import (
    AfterMultiAgentInvocationEvent,
    AfterNodeCallEvent,
    BeforeMultiAgentInvocationEvent,
    BeforeNodeCallEvent,
)
from strands.multiagent.base import Status

from behest_core.recording.adapter import END_WAIT, pause, resume, stop, unobtrusive
from behest_strands.agents import waiting
from behest_strands.translation import answers_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from strands.hooks import HookRegistry
    from strands.multiagent.base import MultiAgentBase

    from behest_core.recording.adapter import Store
    from behest_core.recording.recorder import RunRecorder

works_for: Final[WeakKeyDictionary[Any, RunRecorder]] = WeakKeyDictionary()
"""The team's run, by the agent or the team in it whose turn it is."""


class TeamError(Exception):
    """A team failed without an exception: it went on for too long, or somebody took a node out."""


class _Turns:
    """An invocation of a team: its run, and the steps that are under way, by node."""

    def __init__(self, run: RunRecorder) -> None:
        self.run = run
        self.steps: dict[str, str] = {}
        self.has_resumed = False
        self.handled = sys.exception()


class Teams:
    """The invocation of one team that is under way."""

    def __init__(self, store: Store, begin_run: Callable[[MultiAgentBase], RunRecorder]) -> None:
        self._store = store
        self._begin_run = begin_run
        self._turns: _Turns | None = None
        self._paused: str | None = None

    def register(self, registry: HookRegistry) -> None:
        """Have the team's hooks call us: innermost, as an agent's do."""
        registry.add_callback(BeforeMultiAgentInvocationEvent, self._begin, order=math.inf)
        registry.add_callback(BeforeNodeCallEvent, self._begin_turn, order=math.inf)
        registry.add_callback(AfterNodeCallEvent, self._end_turn, order=-math.inf)
        registry.add_callback(AfterMultiAgentInvocationEvent, self._end, order=-math.inf)

    @unobtrusive()
    def _begin(self, event: BeforeMultiAgentInvocationEvent) -> None:
        self._turns = _Turns(self._begin_run(event.source))

    @unobtrusive()
    def _begin_turn(self, event: BeforeNodeCallEvent) -> None:
        turns = self._turns
        if turns is not None:
            self._go_on(turns, event.source)
            turns.steps[event.node_id] = turns.run.step_started(event.node_id, "node")
            works_for[_executor(event.source, event.node_id)] = turns.run

    def _go_on(self, turns: _Turns, team: MultiAgentBase) -> None:
        """Record whom the invocation answers: the framework says so only after it has begun."""
        state = waiting(team)
        if state is not None and not turns.has_resumed:
            turns.has_resumed = True
            resume(self._store, turns.run, answers_in(state.context.get("responses", ())), paused=self._paused)

    @unobtrusive()
    def _end_turn(self, event: AfterNodeCallEvent) -> None:
        if self._turns is not None:
            self._finish(self._turns, event.source, event.node_id, _error_of(event.source, event.node_id))

    def _finish(self, turns: _Turns, team: MultiAgentBase, node_id: str, error: BaseException | None) -> None:
        step_id = turns.steps.pop(node_id, None)
        works_for.pop(_executor(team, node_id), None)
        if step_id is not None:
            turns.run.step_finished(step_id, error)

    async def _end(self, event: AfterMultiAgentInvocationEvent) -> None:
        with unobtrusive():
            turns, self._turns = self._turns, None
            if turns is not None:
                error = sys.exception()
                self._stop(turns, event.source, None if error is turns.handled else error)
                await turns.run.aclose(END_WAIT)

    @unobtrusive()
    def _stop(self, turns: _Turns, team: MultiAgentBase, error: BaseException | None) -> None:
        status = _status(team)
        if status is Status.FAILED and error is None:
            errors = (_error_of(team, node_id) for node_id in _state(team).results)
            error = next((each for each in errors if each is not None), TeamError("it failed without an exception"))
        for node_id in list(turns.steps):
            self._finish(turns, team, node_id, error)
        self._paused = None
        if error is not None:
            stop(turns.run, error)
        elif status is Status.INTERRUPTED:
            self._paused = turns.run.run_id
            interrupts = [each for each in waiting(team).interrupts.values() if each.response is None]
            pause(turns.run, ", ".join(str(each.name) for each in interrupts), [each.id for each in interrupts])
        else:
            turns.run.completed()


def _executor(team: Any, node_id: str) -> object:  # noqa: ANN401 (Graph and Swarm have nodes, their base class has none)
    return team.nodes[node_id].executor


def _state(team: Any) -> Any:  # noqa: ANN401 (likewise)
    return team.state


def _status(team: MultiAgentBase) -> Status:
    state = _state(team)
    status: Status = state.completion_status if hasattr(state, "completion_status") else state.status
    return status


def _error_of(team: MultiAgentBase, node_id: str) -> BaseException | None:
    found = _state(team).results.get(node_id)
    return found.result if found is not None and isinstance(found.result, BaseException) else None
