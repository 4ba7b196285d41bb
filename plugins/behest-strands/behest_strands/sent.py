"""What a model is sent, seen where it is sent.

The framework's middleware sees what a call begins with; behind it the framework still takes out blank texts, metadata and, where
it forces a structured output, tools. Only the model itself is given what the provider gets. So the model of a call is a stand-in
that notes what it is given and hands all of it on. It is there for this one call, has the class and the attributes of the model,
and is seen by nobody but the framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from behest_core.recording.adapter import unobtrusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from strands.models import Model
    from strands.types.streaming import StreamEvent


class Sent(NamedTuple):
    """The arguments of a call of `Model.stream`."""

    messages: Any
    tool_specs: Any
    system_prompt: Any
    tool_choice: Any


class SeenModel:
    """A model that says what it is sent, once for each call."""

    def __init__(self, model: Model, saw: Callable[[Sent], None]) -> None:
        self._model = model
        self._saw = saw

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the model has)
        return getattr(self._model, name)

    @property  # type: ignore[misc]  # what isinstance looks at
    def __class__(self) -> type:
        return type(self._model)

    def stream(self, *args: Any, **more: Any) -> AsyncIterable[StreamEvent]:  # noqa: ANN401 (as they come)
        """Hand the call on."""
        with unobtrusive():
            self._saw(_sent(*args, **more))
        return self._model.stream(*args, **more)


def _sent(
    messages: object,
    tool_specs: object = None,
    system_prompt: object = None,
    *,
    tool_choice: object = None,
    system_prompt_content: object = None,
    **_: object,
) -> Sent:
    return Sent(
        messages, tool_specs, system_prompt if system_prompt_content is None else system_prompt_content, tool_choice
    )
