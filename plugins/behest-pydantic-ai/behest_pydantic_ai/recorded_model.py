"""RecordedModel: a model around another one, which records what that is sent and what it gives.

- It changes nothing: messages, settings and answers go on as they are, and what is raised is raised again.
- Of a FallbackModel each model is recorded by itself, in a copy of it. So each attempt is a call of its own, with what that model
  was sent and what it wrote.
"""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic_ai import RunContext
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
    from pydantic_ai.settings import ModelSettings

    from behest_pydantic_ai.model_calls import ModelCalls


def recorded(model: Model, calls: ModelCalls) -> Model:
    """Return a model that is `model`, and has its calls recorded."""
    return RecordedFallback(model, calls) if isinstance(model, FallbackModel) else RecordedModel(model, calls)


class RecordedModel(WrapperModel):
    """A model whose calls are recorded."""

    def __init__(self, wrapped: Model, calls: ModelCalls) -> None:
        super().__init__(wrapped)
        self._calls = calls

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Call the model, and record the call."""
        call = self._calls.begin(self.wrapped, messages, model_settings, model_request_parameters)
        try:
            response = await super().request(messages, model_settings, model_request_parameters)
        except BaseException as error:
            if call is not None:
                call.closed(error)
            raise
        if call is not None:
            call.answered(response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Call the model for a stream, and record the call."""
        call = self._calls.begin(self.wrapped, messages, model_settings, model_request_parameters)
        try:
            async with super().request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                if call is not None:
                    call.opened(stream)
                yield stream
        except BaseException as error:
            if call is not None:
                call.closed(error)
            raise
        if call is not None:
            call.closed()


class RecordedFallback(WrapperModel):
    """A FallbackModel each of whose models is recorded."""

    def __init__(self, wrapped: FallbackModel, calls: ModelCalls) -> None:
        super().__init__(wrapped)
        self._chain = copy.copy(wrapped)
        self._chain.models = [recorded(each, calls) for each in wrapped.models]

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Go through the models, and record each."""
        return await self._chain.request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Go through the models for a stream, and record each."""
        async with self._chain.request_stream(
            messages, model_settings, model_request_parameters, run_context
        ) as stream:
            yield stream
