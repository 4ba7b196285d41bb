"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import pytest
from behest_strands import BehestHooks
from behest_strands.translation import provider_of
from strands import Agent
from strands.hooks import AfterModelCallEvent, BeforeModelCallEvent
from strands.middleware import InvokeModelStage
from strands.models.openai_responses import OpenAIResponsesModel
from strands_models import ASKS, BROKEN_OFF, DISCARDED, MODEL, TOOL, StubModel, asks, hook, once, says, weather

from behest_core.model.state import FinishReason, UnknownFinishReason
from behest_core.testing.recorded import the_recorded


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("content_filtered", FinishReason.CONTENT_FILTER),
        ("guardrail_intervened", FinishReason.CONTENT_FILTER),
        ("something_new", UnknownFinishReason("something_new")),
    ],
)
def test_finish_reasons_are_said_in_behests_words(stack, agent_of, reason, expected):
    agent_of(says(".", stop_reason=reason))("?")
    assert the_recorded(stack.store).state.last_finish == expected


def test_a_limit_is_a_finish_reason(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather])("?", limits={"turns": 1})
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "RunCompleted"]
    assert run.state.last_finish == UnknownFinishReason("limit_turns")


def test_a_call_that_fails_and_is_made_again_is_an_iteration_of_its_own(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(says("Th", error=ConnectionError("away")), says("Three."), hooks=[again])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, *MODEL, "RunCompleted"]
    assert (run.state.iteration, run.state.total_usage.total_tokens) == (2, 12)


def test_a_response_that_is_discarded_has_used_tokens_and_is_not_committed(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(says("Four."), says("Three."), hooks=[again])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *DISCARDED, *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def test_each_call_of_a_middleware_that_retries_is_recorded(stack, agent_of):
    async def twice(context, next_fn):
        events = []
        for _ in range(2):
            events = [event async for event in next_fn(context)]
        for event in events:
            yield event

    agent = agent_of(says("Four."), says("Three."))
    agent.add_middleware(InvokeModelStage, twice)
    agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *DISCARDED, *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def test_a_model_call_that_a_hook_denies_is_none(stack, agent_of):
    denies = hook(BeforeModelCallEvent, lambda event: setattr(event, "cancel", "Not today."))
    agent_of(hooks=[denies])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert (run.text, run.state.iteration) == ("Not today.", 0)


def test_the_provider_is_told_by_the_class_of_the_model():
    class Ours(OpenAIResponsesModel):
        pass

    assert provider_of(Ours.__new__(Ours)) == "openai"
    assert provider_of(StubModel()) == "StubModel"


def test_a_model_without_a_configuration_is_named_by_its_class(stack):
    class Plain(StubModel):
        def get_config(self):
            return None

    Agent(model=Plain(says(".")), hooks=[BehestHooks(stack.store)], callback_handler=None)("?")
    assert the_recorded(stack.store).state.model == "Plain"
