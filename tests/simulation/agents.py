"""Agents: they write runs through the real EventLog, lose answers, die, and go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import RunDeletedError, SequenceConflictError
from behest_core.model.decoding import encode_event
from behest_core.model.record import RunRecord

if TYPE_CHECKING:
    from tests.simulation.network import Client
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
    is_bulky: bool = False
    poison: list[tuple[int, str]] = field(default_factory=list)
    """After how many events which kind of poison follows."""

    written: int = 0
    iterations: int = 0
    is_recorded: bool = False
    is_deleted: bool = False
    attempts: int = 0
    acknowledged: list[tuple[int, int, int]] = field(default_factory=list)
    """Last sequence, number of the attempt, and count of events of each append that returned."""

    @property
    def is_done(self) -> bool:
        return self.is_deleted or (self.written >= self.events and (self.is_recorded or self.record == "never"))


class Agent:
    """One process that writes."""

    def __init__(self, around: Surroundings, client: Client, table: str, poisoner: Poisoner) -> None:
        self._around = around
        self._random = around.random
        self._sleep = around.scheduler.sleep
        self._poisoner = poisoner
        self._is_stubborn = self._random.random() < 0.5
        expire_after = timedelta(days=30) if self._random.random() < 0.2 else None
        self._log = EventLog(client, table, now=around.now, expire_after=expire_after)  # type: ignore[arg-type]

    def write(self, plan: Plan, think: float) -> None:
        """Write the run to its end. Whoever shares the plan, or takes it over, goes on where this one was."""
        while not plan.is_done:
            try:
                if not plan.is_recorded and (plan.record == "first" or plan.written >= plan.events):
                    self._create(plan)
                else:
                    self._append(plan)
            except RunDeletedError:
                plan.is_deleted = True
            except (ClientError, BotoCoreError):
                self._sleep(self._around.soon(1.0))  # the agent tries again, a little later
            self._sleep(self._around.soon(think))

    def _create(self, plan: Plan) -> None:
        self._log.create(
            RunRecord(
                run_id=plan.run_id,
                session_id=f"session of {plan.run_id}",
                provider="openai",
                model="gpt-4o",
                metadata={"of": plan.run_id},
                created_at=plan.created_at,
            )
        )
        plan.is_recorded = True

    def _append(self, plan: Plan) -> None:
        count = min(plan.events - plan.written, 1 + int(self._random.expovariate(0.3)))
        plan.attempts += 1
        attempt = plan.attempts
        events = [self._event(plan, plan.written + at, f"{attempt}.{at}") for at in range(count)]
        expected = plan.acknowledged[-1][0] if plan.acknowledged and self._random.random() < 0.1 else None
        plan.written += count  # whoever shares the plan writes what follows
        try:
            if self._is_stubborn and not plan.is_bulky:
                last = self._append_once(plan.run_id, events)
            else:
                last = self._log.append(plan.run_id, events, expected)
        except SequenceConflictError as conflict:
            plan.written -= count - conflict.appended
            return
        except BaseException:
            plan.written -= count
            raise
        plan.acknowledged.append((last, attempt, count))
        while plan.poison and plan.written >= plan.poison[0][0]:
            self._poisoner.put(plan.run_id, plan.poison.pop(0)[1])

    def _append_once(self, run_id: str, events: list[dict[str, Any]]) -> int:
        """Append as a recorder does: try again with the same commit, until it is known to be written, once."""
        commit_id = str(UUID(int=self._random.getrandbits(128), version=4))
        encoded = [encode_event(event) for event in events]
        while True:
            try:
                return self._log.append_encoded(run_id, encoded, commit_id)
            except (ClientError, BotoCoreError):
                self._sleep(self._around.soon(1.0))

    def _event(self, plan: Plan, place: int, uid: str) -> dict[str, Any]:
        """Make the event for a place in the run. `uid` is a field nobody knows: it stays in the log, and tells attempts apart."""
        event: dict[str, Any] = {"timestamp": self._around.moment(), "uid": uid}
        if place == 0:
            return event | {
                "type": "RunStarted",
                "session_id": f"session of {plan.run_id}",
                "provider": "p",
                "model": "m",
            }
        return event | (self._end() if place == plan.events - 1 else self._in_between(plan))

    def _in_between(self, plan: Plan) -> dict[str, Any]:
        """Draw what happens in a run; now and then it ends too early, and goes on."""
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
        delta = self._random.randbytes(self._random.randrange(60_000, 190_000)).hex() if plan.is_bulky else "Hi"
        return {"type": "TextDelta", "delta": delta}

    def _end(self) -> dict[str, Any]:
        draw = self._random.random()
        if draw < 0.6:
            return {"type": "RunCompleted", "finish_reason": self._random.choice(_FINISHES), "iterations": 1}
        return {"type": "RunFailed", "error": "boom"} if draw < 0.8 else {"type": "RunCancelled"}
