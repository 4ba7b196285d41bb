"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import json

import pytest
from behest_strands import BehestHooks
from behest_strands.translation import provider_of
from pydantic import BaseModel
from strands import Agent
from strands.hooks import AfterModelCallEvent, BeforeModelCallEvent
from strands.middleware import InvokeModelStage
from strands.models.openai_responses import OpenAIResponsesModel
from strands.models.routing import ModelRouter
from strands_models import ASKS, BROKEN_OFF, DISCARDED, MODEL, TOOL, StubModel, Turn, asks, hook, once, says, weather

from behest_core.model.conversation import Requests
from behest_core.model.decoding import core_decoder
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


def requests_of(run):
    requests = Requests()
    for each in run.of("agent.ModelRequested"):
        requests.add(core_decoder.decode_one(json.dumps(each).encode()))
    return list(requests.by_call.values())


def test_what_the_model_is_sent_is_told_as_the_framework_sends_it(stack, agent_of):
    agent = agent_of(
        says("Cold."), tools=[weather], system_prompt=[{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
    )
    agent.messages += [
        {"role": "user", "content": [{"text": "Hi"}], "metadata": {"custom": "not for the model"}},
        {"role": "assistant", "content": [{"text": " "}]},
    ]
    agent("?")
    [request] = requests_of(the_recorded(stack.store))
    assert request.message_format == "strands"
    assert request.messages == [
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "assistant", "content": [{"text": "[blank text]"}]},
        {"role": "user", "content": [{"text": "?"}]},
    ]
    assert request.system_instructions == [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
    assert [each["name"] for each in request.tool_definitions] == ["weather"]
    assert request.parameters is None


def test_the_parameters_of_a_model_are_told_and_nothing_else_of_its_configuration(stack, agent_of):
    class Answer(BaseModel):
        celsius: int

    class Warm(StubModel):
        def get_config(self):
            return {"model_id": "warm", "temperature": 0.5, "max_tokens": 10, "api_key": "a secret"}

    model = Warm(says("3"), Turn(tools=[("call-1", "Answer", {"celsius": 3})]))
    agent_of(model=model)("?", structured_output_model=Answer)
    first, forced = requests_of(the_recorded(stack.store))
    assert first.parameters == {"temperature": 0.5, "max_tokens": 10}
    assert forced.parameters == {**first.parameters, "tool_choice": {"tool": {"name": "Answer"}}}


def test_a_middleware_inside_sees_a_model_of_the_same_class(stack, agent_of):
    seen = []

    async def look(context, next_fn):
        seen.append((isinstance(context.model, StubModel), context.model.get_config()["model_id"]))
        async for event in next_fn(context):
            yield event

    agent = agent_of(says("One."), says("Two."))
    agent("?")
    agent.add_middleware(InvokeModelStage, look)
    agent("?")
    assert seen == [(True, "stub-1")]


def test_a_fallback_has_its_text_and_its_tokens_under_its_own_name(stack, agent_of):
    models = [
        StubModel(says("I am", error=ConnectionError("away")), model_id="one"),
        StubModel(says("Cold."), model_id="two"),
    ]
    agent_of(model=ModelRouter(models))("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, *MODEL, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["one", "two"]
    assert [each["model"] for each in run.of("UsageRecorded")] == ["two"]
    failed, answered = (each["model_call_id"] for each in run.of("ModelStarted"))
    texts = {each["model_call_id"]: each["delta"] for each in run.of("TextDelta")}
    assert texts == {failed: "I am", answered: "Cold."}
