"""What adapters to agent frameworks share, so that all of them record alike and none can bring its agent down.

- One invocation of an agent is one run. Its run id is the framework's own id for it, as text, where that has 1 to 255
  characters; a UUID derived from that id where it has not; a new UUID where the framework has none.
- The run's metadata has `framework` and, as text, the original id: `framework_run_id`.
- An id that comes again continues its run: another RunStarted in the same log. While it is open, nobody else of this process
  records it.
- The recorder only warns (``on_error="warn"``). It begins without waiting for the table, and its end waits `END_WAIT` at most.
- What an adapter does with a framework's objects goes on inside `unobtrusive`: what it raises is logged, and the agent goes on.
- Whatever a framework passes as arguments, outputs or metadata is made storable by the recorder (storable.py). A tool's
  arguments, output and error are cut at 64 KB.
- A tool that has begun has an end at the latest when the run has: the recorder sees to that. An adapter only tells what it sees.
- An invocation that an Exception ends has failed; one that anything else stops was cancelled: see `stop`.
- An invocation that stops to wait for somebody (an interrupt, an approval) is recorded with `pause`. It has no terminal event,
  as it is not over. The one that brings the answer is recorded with `resume`, in both logs.
- An agent that is invoked in a step which something else records (`surroundings`) is a child of that run. Where its framework has
  no id for it, the id comes from the step: a step that is done again goes on in the same run.
- What a model is sent and what it gives is recorded by a `ModelCall` of its own, what an agent is made of by steps, so that all
  that happens at once can be told apart.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypedDict, TypeVar
from uuid import UUID, uuid4, uuid5
from weakref import WeakValueDictionary

from behest_core.errors import AlreadyRecordedError, InvalidRunIdError
from behest_core.model.agent_events import Paused
from behest_core.model.events import ToolExecutionResult
from behest_core.model.limits import check_run_id
from behest_core.model.timestamps import now
from behest_core.recording import pauses
from behest_core.recording.failures import text_with_causes
from behest_core.recording.open_tools import CANCELLED
from behest_core.recording.recorder import RunRecorder, new_record
from behest_core.recording.storable import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.record import RunRecord
    from behest_core.recording.outbox import Log
    from behest_core.recording.recorder import Redact

END_WAIT: Final = 2.0
"""How long an adapter holds up the end of a run until it is in the log, in seconds; for `RunRecorder.close`."""

UNKNOWN: Final = "unknown"
"""Provider or model in the record of a run whose framework tells them later than that."""

_NAMESPACE: Final = UUID("5d0c0f5e-6f4b-5c55-8d0a-8a4f5f5d2b61")
_CUT_AT: Final = 64 * 1024

_logger = logging.getLogger("behest_core")

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "END_WAIT",
    "Paused",
    "RecorderSettings",
    "Store",
    "Surroundings",
    "as_json",
    "begin",
    "checked",
    "failure",
    "id_of",
    "pause",
    "resume",
    "run_record",
    "start",
    "stop",
    "surroundings",
    "unobtrusive",
]


class Store(Protocol):
    """Where an adapter records: a `RunStore`, or anything else that has both tables."""

    event_log: EventLog
    state_table: StateTable


class RecorderSettings(TypedDict, total=False):
    """The settings of `RunRecorder` that users of an adapter can choose."""

    interval: float
    give_up_after: float
    cut_at: int | None
    redact: Redact | None
    content: bool | None
    exit_wait: float
    heartbeat: float | None


def checked(settings: RecorderSettings) -> RecorderSettings:
    """Return the settings. Raises TypeError for an unknown one, when the adapter is made: in a run it would only be logged."""
    known = RecorderSettings.__annotations__
    for name in settings:
        if name not in known:
            raise TypeError(f"{name} is no setting; there are {', '.join(sorted(known))}")
    return settings


def begin(  # noqa: PLR0913 (what a run record has)
    store: Store,
    framework: str,
    framework_run_id: object = None,
    *,
    provider: str | None,
    model: str | None,
    session_id: object = None,
    agent_name: str | None = None,
    parent: RunRecorder | None = None,
    tags: Iterable[str] = (),
    user_id: object = None,
    metadata: Mapping[str, object] | None = None,
    started_at: str | None = None,
    settings: RecorderSettings | None = None,
) -> RunRecorder:
    """Begin to record an invocation of a framework's agent, without waiting for the table.

    `framework_run_id` and `session_id` are the framework's ids, of any type; without them both are new. `parent` is the run whose
    tool or step invokes this agent: without a session of its own, the run is in its parent's. `metadata` is added to what the
    other arguments say. Without `provider` or `model` the run record has ``unknown``, and RunStarted waits for the first
    model call, whose it has. `started_at` is when the run began, RFC 3339; by default now. Within `surroundings`, an agent
    without a parent is invoked by the step there. Raises AlreadyRecordedError where another adapter of this process records
    the run.
    """
    place = surroundings.get()
    if parent is None and place is not None:
        parent = place.run
        metadata = {"parent_step_id": place.step_id, **(metadata or {})}
    if framework_run_id in (None, "") and place is not None:
        framework_run_id = place.next_run_id(framework, agent_name)
    record = run_record(
        framework,
        framework_run_id,
        provider=provider,
        model=model,
        session_id=session_id,
        agent_name=agent_name,
        parent=parent,
        tags=tags,
        user_id=user_id,
        metadata=metadata,
    )
    with _opening:
        key = (store.event_log.table, record.run_id)
        before = _open.get(key)
        if before is not None and not before.is_closed:
            raise AlreadyRecordedError(record.run_id)
        run = start(store.event_log, record, settings, started_at)
        _open[key] = run
    return run


def run_record(  # noqa: PLR0913 (what a run record has)
    framework: str,
    framework_run_id: object = None,
    *,
    provider: str | None,
    model: str | None,
    session_id: object = None,
    agent_name: str | None = None,
    parent: RunRecorder | None = None,
    tags: Iterable[str] = (),
    user_id: object = None,
    metadata: Mapping[str, object] | None = None,
) -> RunRecord:
    """Return the record of a run that `begin` begins."""
    original = str(uuid4()) if framework_run_id in (None, "") else str(framework_run_id)
    about: Any = {
        "framework": framework,
        "framework_run_id": original,
        **_told({"agent_name": agent_name, "tags": list(tags), "user_id": user_id}),
        **_family(parent),
        **(metadata or {}),
    }
    return new_record(
        provider=provider or UNKNOWN,
        model=model or UNKNOWN,
        session_id=_session(session_id, parent),
        metadata=about,  # made storable by the recorder
        client_request_id=f"{framework}:{original}",
        run_id=id_of(original),
    )


def start(
    log: Log, record: RunRecord, settings: RecorderSettings | None = None, started_at: str | None = None
) -> RunRecorder:
    """Start to record a run as adapters do: it only warns, and cuts at 64 KB."""
    how: RecorderSettings = {"cut_at": _CUT_AT, **(settings or {})}
    is_model_known = UNKNOWN not in (record.provider, record.model)
    return RunRecorder(log, record, on_error="warn", **how).start(started_at, is_model_known=is_model_known)


class Surroundings:
    """A step of a recorded run in which agents are invoked: their runs are children of it."""

    def __init__(self, run: RunRecorder, step_id: str) -> None:
        self.run = run
        self.step_id = step_id
        self._begun: Counter[str] = Counter()

    def next_run_id(self, framework: str, agent_name: str | None) -> str:
        """Return the id of the next agent's run, where its framework has none: the same where the step is done again."""
        agent = f"{framework}/{agent_name or ''}"
        self._begun[agent] += 1
        return f"{self.run.run_id}/{self.step_id}/{agent}/{self._begun[agent]}"


surroundings: Final[ContextVar[Surroundings | None]] = ContextVar("behest_surroundings", default=None)
"""The step around the code that runs. Whoever records steps in which others' code runs sets it."""


_open: WeakValueDictionary[tuple[str, str], RunRecorder] = WeakValueDictionary()
"""The runs that adapters of this process record, by table and run id."""

_opening: Final = threading.Lock()


def _session(session_id: object, parent: RunRecorder | None) -> str | None:
    if session_id not in (None, ""):
        return id_of(session_id)
    return None if parent is None else parent.record.session_id


def _family(parent: RunRecorder | None) -> dict[str, object]:
    if parent is None:
        return {}
    known = parent.record.metadata
    root = known.get("root_run_id") if isinstance(known, dict) else None
    return {"parent_run_id": parent.run_id, "root_run_id": root or parent.run_id}


def _told(known: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in known.items() if value not in (None, [])}


def pause(run: RunRecorder, reason: str, pending: Iterable[object] = ()) -> None:
    """Record that the agent waits for somebody, see `Paused`."""
    run.emit(Paused(reason=reason, pending=[str(each) for each in pending], timestamp=now()))


def resume(store: Store, run: RunRecorder, answers: Mapping[str, str] | str, *, paused: object = None) -> None:
    """Record that a run goes on where another one, or itself, had paused: `answers` by pending id, see `Resumed`.

    One word is the answer to all that waits, where the framework doesn't say what that was: it is looked up.

    `paused` is the framework's id of the run that waited, where it knows that. Otherwise it is looked for; see pauses.py.
    """
    pauses.answer(store, run, answers, None if paused in (None, "") else id_of(paused))


def stop(run: RunRecorder, error: BaseException) -> None:
    """Record how a run ended that was stopped by `error`: an Exception fails it, anything else cancels it.

    Anything else is a task that is cancelled, a generator that is closed before its end, or Ctrl-C.
    """
    if isinstance(error, Exception):
        run.failed(error)
    else:
        run.cancelled()


def all_input(told: int, cached: int) -> int:
    """Return all tokens that a model was given, where `told` should have the `cached` ones in them.

    A part can't be more than the whole. So where more are cached than told, whoever told them counted the cached ones beside.
    """
    return told + cached if cached > told else told


def failure(error: BaseException) -> ToolExecutionResult:
    """Return the result of a tool that raised `error`, or was stopped by it."""
    return ToolExecutionResult.failed(text_with_causes(error) if isinstance(error, Exception) else CANCELLED)


class unobtrusive:  # noqa: N801 (used as a function is)
    """Log whatever Exception is raised in here to `behest_core`, and go on. That a run is recorded already is no fault.

    For a ``with`` block, also one that awaits; or as a decorator, ``@unobtrusive()``, of a function that isn't async: it returns
    None where it raised. That is asked for each thing that an agent does, so it is no generator.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        _note(error)
        return True

    def __call__(self, function: Callable[P, T]) -> Callable[P, T | None]:
        """Return the function, safe to call."""

        @wraps(function)
        def go_on(*arguments: P.args, **named: P.kwargs) -> T | None:
            try:
                return function(*arguments, **named)
            except Exception as error:  # noqa: BLE001 (it is noted)
                _note(error)
                return None

        return go_on


def _note(error: Exception) -> None:
    if isinstance(error, AlreadyRecordedError):
        _logger.info("%s", error)
    else:
        _logger.error("behest could not record what an agent did; the agent goes on", exc_info=error)


def id_of(original: object) -> str:
    """Return the id under which behest knows something that a framework calls `original`."""
    text = str(original)
    try:
        return check_run_id(text)
    except InvalidRunIdError:
        return str(uuid5(_NAMESPACE, text.encode(errors="surrogatepass").hex()))
