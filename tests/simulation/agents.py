"""Agents: they write runs through the real EventLog, which those of one process share, lose answers, die, and go on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from behest_core.dynamodb.event_table import PendingCommit
from behest_core.errors import RunDeletedError, SequenceConflictError
from behest_core.model.decoding import encode
from behest_core.model.record import RunRecord
from behest_core.testing import FunctionKilled
from tests.simulation.history import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.dynamodb.event_table import EventLog
    from tests.simulation.history import History
    from tests.simulation.poison import Poisoner
    from tests.simulation.surroundings import Surroundings

_FINISHES = ("stop", "length", "tool_calls", "pause_turn")


@dataclass(slots=True)
class Plan:
    """What is to be written to one run. Two agents may share one."""

    run_id: str
    events: int
    record: str
    """When the run record is written: `first`, `late` or `never`."""

    created_at: str
    has_metadata: bool = True
    has_start: bool = True
    """Whether the first event is a RunStarted."""

    is_at_once: bool = False
    """Whether the first event happened at the very moment at which the run was created."""

    is_bulky: bool = False
    poison: list[tuple[int, str]] = field(default_factory=list)
    """After how many events which kind of poison follows."""

    written: int = 0
    iterations: int = 0
    is_recorded: bool = False
    is_deleted: bool = False
    attempts: int = 0
    last: int | None = None
    """What the latest append that was acknowledged returned."""

    @property
    def is_done(self) -> bool:
        return self.is_deleted or (self.written >= self.events and (self.is_recorded or self.record == "never"))


WRITING = "agent"
"""How the names of tasks begin that write."""


class Habit(Enum):
    """What an agent does about an append of which it doesn't know whether it happened."""

    FORGETS = "forgets"
    """It writes what it has to say again, as something new."""

    INSISTS = "insists"
    """It tries the same commit again until it is known to be written, as a recorder does."""

    PUTS_ASIDE = "puts aside"
    """It goes on with something else, and comes back to the commit later, maybe much later."""


_HABITS = tuple(Habit)


@dataclass(slots=True)
class _Commit:
    """One commit that may have to be tried again."""

    plan: Plan
    call: Call
    pending: PendingCommit


class Agent:
    """One of those that write in a process, through the log that they share."""

    def __init__(self, around: Surroundings, log: EventLog, name: str, poisoner: Poisoner, history: History) -> None:
        self._around = around
        self._random = around.random
        self._sleep = around.scheduler.sleep
        self._now = around.scheduler.clock
        self._log = log
        self._name = name
        self._poisoner = poisoner
        self._history = history
        self._habit = self._random.choice(list(Habit))
        self._calls: list[Call] = []
        self._aside: list[_Commit] = []

    def write(self, plan: Plan, think: float) -> None:
        """Write the run to its end. Whoever shares the plan, or takes it over, goes on where this one was."""
        while not plan.is_done:
            with self._patience(plan):
                if self._aside and self._random.random() < 0.2:
                    self._try_again()
                elif not plan.is_recorded and (plan.record == "first" or plan.written >= plan.events):
                    self._create(plan)
                else:
                    self._append(plan)
            self._sleep(self._around.soon(think))

    def finish(self, think: float) -> None:
        """Come back to what was put aside."""
        while self._aside:
            with self._patience(self._aside[-1].plan):
                self._try_again()
            self._sleep(self._around.soon(think))

    def die(self) -> None:
        """Ask for nothing again."""
        for call in self._calls:
            call.is_given_up = True

    @contextmanager
    def _patience(self, plan: Plan) -> Iterator[None]:
        """Let the run be, if it was deleted; try again a little later, if anything else went wrong."""
        try:
            yield
        except RunDeletedError:
            plan.is_deleted = True
        except (ClientError, BotoCoreError):
            self._sleep(self._around.soon(1.0))

    def _create(self, plan: Plan) -> None:
        record = RunRecord(
            run_id=plan.run_id,
            session_id=f"session of {plan.run_id}",
            provider="openai",
            model="gpt-4o",
            metadata={"of": plan.run_id} if plan.has_metadata else None,
            created_at=plan.created_at,
        )
        self._history.creating[plan.run_id] += 1
        try:
            self._log.create(record)
        finally:
            self._history.creating[plan.run_id] -= 1
        plan.is_recorded = True

    def _append(self, plan: Plan) -> None:
        count = min(plan.events - plan.written, 1 + int(self._random.expovariate(0.3)))
        plan.attempts += 1
        ids = [f"{plan.attempts}.{at}" for at in range(count)]
        events = [self._event(plan, plan.written + at, uid) for at, uid in enumerate(ids)]
        call = Call(run_id=plan.run_id, client=self._name, events=ids, began=self._now())
        self._calls.append(self._history.begin(call))
        plan.written += count  # whoever shares the plan writes what follows
        if self._habit is Habit.FORGETS or plan.is_bulky:
            self._append_plainly(plan, call, events)
        else:
            commit_id = str(UUID(int=self._random.getrandbits(128), version=4))
            pending = PendingCommit(plan.run_id, list(map(encode, events)), commit_id)
            self._append_commit(_Commit(plan, call, pending))
        while plan.poison and plan.written >= plan.poison[0][0]:
            self._poisoner.put(plan.run_id, plan.poison.pop(0)[1])

    def _append_plainly(self, plan: Plan, call: Call, events: list[dict[str, Any]]) -> None:
        """Append events, maybe as several commits; what is not known to be written is written again as something new."""
        call.is_one_commit = not plan.is_bulky
        call.expected = plan.last if self._random.random() < 0.2 else None
        try:
            last = self._log.append(plan.run_id, events, call.expected)
        except SequenceConflictError as conflict:
            call.refuse(conflict.actual, conflict.appended, self._now())
            plan.written -= len(events) - conflict.appended
        except BaseException:
            call.is_given_up = True
            plan.written -= len(events)
            raise
        else:
            self._is_written(plan, call, last)

    def _append_commit(self, commit: _Commit) -> None:
        """Append one commit, and try it again, at once or later, until it is known to be written."""
        while True:
            try:
                last = self._log.append_pending(commit.pending)
            except (ClientError, BotoCoreError):
                if self._habit is Habit.PUTS_ASIDE:
                    self._aside.append(commit)
                    raise
                self._sleep(self._around.soon(1.0))
            except FunctionKilled:
                commit.plan.written -= len(commit.pending.events)
                raise
            else:
                self._is_written(commit.plan, commit.call, last)
                return

    def _try_again(self) -> None:
        commit = self._aside.pop(self._random.randrange(len(self._aside)))
        try:
            self._append_commit(commit)
        except RunDeletedError:
            commit.call.is_given_up = commit.plan.is_deleted = True

    def _is_written(self, plan: Plan, call: Call, last: int) -> None:
        call.acknowledge(last, self._now())
        plan.last = last
        self._calls.remove(call)

    def _event(self, plan: Plan, place: int, uid: str) -> dict[str, Any]:
        """Make the event for a place in the run. `uid` is a field nobody knows: it stays in the log, and tells attempts apart."""
        event: dict[str, Any] = {"timestamp": self._around.moment(), "uid": uid}
        if place == 0:
            return event | self._beginning(plan)
        return event | (self._end() if place == plan.events - 1 else self._in_between(plan, uid))

    def _beginning(self, plan: Plan) -> dict[str, Any]:
        begins = {"provider": "p", "model": "m"} | ({"timestamp": plan.created_at} if plan.is_at_once else {})
        if plan.has_start:
            return begins | {"type": "RunStarted", "session_id": f"session of {plan.run_id}"}
        return begins | {"type": "ModelStarted", "iteration": plan.iterations}

    def _in_between(self, plan: Plan, uid: str) -> dict[str, Any]:
        """Draw what happens in a run; now and then it ends too early, or waits, and goes on."""
        draw = self._random.random()
        if draw < 0.15:
            plan.iterations += 1
            return {"type": "ModelStarted", "provider": "p", "model": "m", "iteration": plan.iterations}
        if draw < 0.4:
            usage = {"input_tokens": self._random.randrange(1000), "output_tokens": self._random.randrange(1000)}
            return {"type": "UsageRecorded", "usage": usage}
        if draw < 0.42:
            return {"type": "approvals.Requested", "call_id": "c"}
        if draw < 0.43:
            return self._end()
        if draw < 0.46:
            answered = {"type": "agent.Resumed", "answers": {}}
            return answered if draw < 0.44 else {"type": "agent.Paused", "reason": "approval", "pending": [uid]}
        delta = self._random.randbytes(self._random.randrange(60_000, 190_000)).hex() if plan.is_bulky else "Hi"
        return {"type": "TextDelta", "delta": delta}

    def _end(self) -> dict[str, Any]:
        draw = self._random.random()
        if draw < 0.6:
            return {"type": "RunCompleted", "finish_reason": self._random.choice(_FINISHES), "iterations": 1}
        return {"type": "RunFailed", "error": "boom"} if draw < 0.8 else {"type": "RunCancelled"}
