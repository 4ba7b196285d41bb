"""Records agents in AWS Lambda durable functions: an execution is one run, whatever number of invocations it takes.

@recorded(store, provider="bedrock", model="anthropic.claude-sonnet-5", agent_name="refunds")
def handler(event, context):
    draft = context.step(write_draft, name="draft")
    ...

- `recorded` stands in the place of `durable_execution`. It registers with the SDK as one of its plugins, and changes nothing of
  what the SDK does.
- journal.py keeps what is written once, operations.py reads the checkpoint, execution.py follows an invocation.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict
from uuid import uuid4

from aws_durable_execution_sdk_python import durable_execution
from msgspec import UNSET

from behest_core.recording.adapter import checked, run_record, surroundings, unobtrusive
from behest_core.recording.model_call import ModelCall
from behest_durable.execution import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Unpack

    from aws_durable_execution_sdk_python import DurableContext
    from aws_durable_execution_sdk_python.plugin import (
        DurableInstrumentationPluginFactory,
        InvocationStartInfo,
    )
    from mypy_boto3_lambda import LambdaClient

    from behest_core.model.json import JSON
    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

    Handler = Callable[[Any, DurableContext], Any]
    OfTheInput = str | Callable[[Any], object] | None

__all__ = ["RecordedStep", "current_step", "recorded"]

FRAMEWORK: Final = "lambda-durable"

_invocation: ContextVar[Invocation | None] = ContextVar("behest_durable_invocation", default=None)


class Sent(TypedDict, total=False):
    """What a model is called with, see `RunRecorder.model_call`."""

    provider: str | None
    model: str | None
    messages: Sequence[JSON] | None
    message_format: str
    system_instructions: JSON
    tool_definitions: JSON
    parameters: JSON


def recorded(  # noqa: PLR0913 (what there is to say of a run)
    store: Store,
    *,
    provider: str,
    model: str,
    agent_name: str | None = None,
    session_id: OfTheInput = None,
    user_id: OfTheInput = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, object] | None = None,
    answer_of: Callable[[str | None], str] = lambda result: "answered",  # noqa: ARG005 (whatever it is)
    plugins: Sequence[DurableInstrumentationPluginFactory] = (),
    boto3_client: LambdaClient | None = None,
    **settings: Unpack[RecorderSettings],
) -> Callable[[Handler], Callable[[Any, Any], Any]]:
    """Return what makes a handler durable, as `durable_execution` does, and records its executions.

    `session_id` and `user_id` are texts, or functions of the execution's input; without the former each execution is a session.
    `answer_of` returns, of what a callback was completed with as text, ``granted``, ``denied`` or ``answered``. `plugins` and
    `boto3_client` go to the SDK, `settings` to the recorder.
    """
    recording = _Recording(
        store,
        {"provider": provider, "model": model, "agent_name": agent_name, "tags": list(tags), "metadata": metadata},
        session_id,
        user_id,
        answer_of,
        checked(settings),
    )

    def decorate(handler: Handler) -> Callable[[Any, Any], Any]:
        @functools.wraps(handler)
        def followed(event: Any, context: DurableContext) -> Any:  # noqa: ANN401 (the handler's own)
            invocation = _invocation.get()
            if invocation is not None:
                invocation.handler_begins(context.state)
            return handler(event, context)

        durable: Callable[[Any, Any], Any] = durable_execution(
            followed, boto3_client=boto3_client, plugins=[recording, *plugins]
        )
        return durable

    return decorate


@dataclass(frozen=True)
class _Recording:
    """Begins to record invocations; the SDK calls it a plugin factory."""

    store: Store
    about: dict[str, Any]
    session_id: OfTheInput
    user_id: OfTheInput
    answer_of: Callable[[str | None], str]
    settings: RecorderSettings

    def create_plugin(self, info: InvocationStartInfo, /) -> Invocation:
        """Begin to record an invocation."""
        _invocation.set(None)
        session_id: object = None
        user_id: object = None
        with unobtrusive():
            session_id = _of(self.session_id, info.execution_input)
            user_id = _of(self.user_id, info.execution_input)
        record = run_record(
            FRAMEWORK,
            info.execution_arn,
            session_id=info.execution_arn if session_id in (None, "") else session_id,
            user_id=user_id,
            **self.about,
        )
        invocation = Invocation(self.store.event_log, record, self.settings, self.answer_of)
        _invocation.set(invocation)
        return invocation


def _of(value: OfTheInput, given: object) -> object:
    return value(given) if callable(value) else value


class RecordedStep:
    """The attempt at a step in which the code runs that asks for it: `current_step` returns it.

    `run` is the recorder of the execution, for all that it can record besides; None where nothing is recorded.
    """

    def __init__(self, run: RunRecorder | None, step_id: str | None) -> None:
        self.run = run
        self.step_id = step_id

    def model_call(self, **sent: Unpack[Sent]) -> ModelCall:
        """Record that the step calls a model, and what it is sent; return the call, which records what it gives."""
        call = ModelCall(lambda event: None, str(uuid4()), UNSET)  # noqa: ARG005 (nobody hears it)
        if self.run is not None:
            with unobtrusive():
                call = self.run.model_call(**sent, step_id=self.step_id)
        return call


def current_step() -> RecordedStep:
    """Return the step in which this code runs; outside of a recorded execution's steps, one that records nothing."""
    around = surroundings.get()
    return RecordedStep(None, None) if around is None else RecordedStep(around.run, around.step_id)
