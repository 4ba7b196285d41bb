"""What the models were sent: read back from the log, it is what the models were given, to the byte."""

import asyncio
from copy import deepcopy

import msgspec
import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelRetry, NativeOutput, PromptedOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import BinaryContent, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai_models import FIRST, LAST, TEAPOT, answer, calls, scripted, use_run_stream_events, weather

from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests
from behest_core.model.decoding import core_decoder
from behest_core.testing.recorded import all_recorded, the_recorded

TOOLS = TypeAdapter(list[ToolDefinition])


class Witness:
    """Models that say what they are told to, and keep what they are given, as JSON."""

    def __init__(self):
        self.given = []

    def model(self, *answers, name="stub-1"):
        model = scripted(*answers, name=name)

        async def say(messages, info):
            self.keep(messages, info)
            return await model.function(messages, info)

        async def stream(messages, info):
            self.keep(messages, info)
            async for each in model.stream_function(messages, info):
                yield each

        return FunctionModel(say, stream_function=stream, model_name=name)

    def keep(self, messages, info):
        tools = [*info.function_tools, *info.output_tools]
        self.given.append(
            (
                ModelMessagesTypeAdapter.dump_json(messages),
                info.instructions,
                TOOLS.dump_json(tools) if tools else None,
            )
        )


@pytest.fixture
def witness():
    return Witness()


def sent(stack, run):
    """Return what the log of a run says that its models were sent, in the same form."""
    requests = Requests()
    for each in stack.store.events(run.record.run_id):
        event = core_decoder.decode_one(each.raw)
        if isinstance(event, ModelRequested):
            requests.add(event)
    assert {each.message_format for each in requests.by_call.values()} == {"pydantic-ai"}
    assert all(each.is_whole for each in requests.by_call.values())
    return [
        (
            msgspec.json.encode(each.messages),
            each.system_instructions,
            None if each.tool_definitions is None else msgspec.json.encode(each.tool_definitions),
        )
        for each in requests.by_call.values()
    ]


def test_a_request_is_what_the_model_was_given(stack, recording, witness):
    agent = Agent(
        witness.model(FIRST, LAST),
        capabilities=[recording],
        tools=[weather],
        instructions="Be brief.",
        system_prompt="Hm.",
    )
    agent.run_sync(["Oslo?", BinaryContent(b"\x00\xff", media_type="image/png")])
    assert len(witness.given) == 2
    assert witness.given[0][1] == "Be brief."
    assert sent(stack, the_recorded(stack.store)) == witness.given


def test_a_request_is_what_the_model_was_given_where_the_answer_is_streamed(stack, recording, witness):
    agent = Agent(witness.model(FIRST, LAST), capabilities=[recording], tools=[weather], instructions="Be brief.")
    asyncio.run(use_run_stream_events(agent))
    assert len(witness.given) == 2
    assert sent(stack, the_recorded(stack.store)) == witness.given


def test_what_is_new_is_told_and_no_more(stack, recording, witness):
    Agent(witness.model(FIRST, LAST), capabilities=[recording], tools=[weather], instructions="Be brief.").run_sync("?")
    first, second = the_recorded(stack.store).of("agent.ModelRequested")
    assert (len(first["messages"]), len(second["messages"])) == (1, 2)
    assert (second["follows"], second["kept"]) == (first["model_call_id"], 1)
    assert "system_instructions" not in second
    assert "tool_definitions" not in second


class City(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("output_type", "said"),
    [
        (City, calls("final_result")),
        (NativeOutput(City), answer('{"name": "Oslo"}')),
        (PromptedOutput(City), answer('{"name": "Oslo"}')),
    ],
    ids=["tool", "native", "prompted"],
)
def test_what_the_answer_has_to_look_like_is_a_part_of_the_request(stack, recording, witness, output_type, said):
    said = deepcopy(said)
    for each in said.tool_calls:
        each.args = {"name": "Oslo"}
    agent = Agent(witness.model(said), capabilities=[recording], output_type=output_type)
    assert agent.run_sync("Where?").output == City(name="Oslo")
    run = the_recorded(stack.store)
    assert sent(stack, run) == witness.given
    asked = run.of("agent.ModelRequested")[0].get("parameters", {})
    assert ("output_object" in asked) is (output_type is not City)


def test_each_model_of_a_fallback_has_its_own_request(stack, recording, witness):
    fallback = FallbackModel(witness.model(TEAPOT, name="first"), witness.model(LAST, name="second"))
    Agent(fallback, capabilities=[recording], instructions="Be brief.").run_sync("Oslo?")
    assert len(witness.given) == 2
    assert sent(stack, the_recorded(stack.store)) == witness.given


def test_retries_of_an_output_and_of_a_tool_are_requests(stack, recording, witness):
    def weather(city: str) -> str:
        raise ModelRetry("which Oslo?")

    agent = Agent(witness.model(FIRST, answer("No."), LAST), capabilities=[recording], tools=[weather])

    @agent.output_validator
    def is_good(output: str) -> str:
        if output == "No.":
            raise ModelRetry("Say more.")
        return output

    agent.run_sync("Oslo?")
    assert len(witness.given) == 3
    assert sent(stack, the_recorded(stack.store)) == witness.given


def test_a_request_that_fails_is_told(stack, recording, witness):
    with pytest.raises(ModelHTTPError):
        Agent(witness.model(TEAPOT), capabilities=[recording]).run_sync("Oslo?")
    assert len(witness.given) == 1
    assert sent(stack, the_recorded(stack.store)) == witness.given


def test_runs_at_once_have_each_its_own_requests(stack, recording):
    witnesses = [Witness() for _ in range(5)]

    async def use():
        agents = [Agent(each.model(FIRST, LAST), capabilities=[recording], tools=[weather]) for each in witnesses]
        await asyncio.gather(*[agent.run(f"Oslo {n}?", run_id=f"run-{n}") for n, agent in enumerate(agents)])

    asyncio.run(use())
    runs = {run.record.run_id: run for run in all_recorded(stack.store)}
    assert [sent(stack, runs[f"run-{n}"]) for n in range(5)] == [each.given for each in witnesses]


def test_a_run_that_goes_on_was_sent_all_that_came_before(stack, recording, witness):
    agent = Agent(
        witness.model(FIRST, LAST),
        capabilities=[recording],
        output_type=[str, DeferredToolRequests],
        instructions="Brief.",
    )
    agent.tool_plain(requires_approval=True)(weather)
    waiting = agent.run_sync("Oslo?", run_id="a")
    history = ModelMessagesTypeAdapter.validate_json(waiting.all_messages_json())
    approved = DeferredToolResults(approvals={"call-1": True})
    agent.run_sync(message_history=history, deferred_tool_results=approved, run_id="b")
    runs = {run.record.run_id: run for run in all_recorded(stack.store)}
    assert len(witness.given) == 2
    assert [*sent(stack, runs["a"]), *sent(stack, runs["b"])] == witness.given


def test_settings_are_told_without_the_keys_in_their_headers(stack, recording):
    settings = {"temperature": 0.5, "extra_headers": {"Authorization": "the-secret"}}
    Agent(AcceptsHeaders(say_hi), capabilities=[recording], model_settings=settings).run_sync("Hi?")
    [request] = the_recorded(stack.store).of("agent.ModelRequested")
    assert request["parameters"] == {"temperature": 0.5}


class AcceptsHeaders(FunctionModel):
    unsupported_settings = frozenset()


async def say_hi(messages, info):
    return ModelResponse(answer("Hi.").parts)
