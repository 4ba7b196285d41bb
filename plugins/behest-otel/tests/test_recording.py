"""Spans of instrumented agents, and what is in the log of them."""

import json
import threading

import pytest
from behest_otel import BehestSpanProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests
from behest_core.model.decoding import core_decoder
from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, refuse_writes, the_recorded

QUESTION = [{"role": "user", "parts": [{"type": "text", "content": "How warm is it in Oslo?"}]}]
ASKS = {
    "role": "assistant",
    "parts": [
        {"type": "text", "content": "Let me see."},
        {"type": "tool_call", "id": "t1", "name": "weather", "arguments": {"city": "Oslo"}},
    ],
    "finish_reason": "tool_calls",
}
GIVEN = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t1", "response": "3"}]}
ANSWERS = {"role": "assistant", "parts": [{"type": "text", "content": "3 degrees."}], "finish_reason": "stop"}


def agent(name="forecaster", **more):
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, **more}


def chat(**more):
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        **more,
    }


def tool(call_id="t1", name="weather", **more):
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": call_id,
        **more,
    }


def answered(span, sent, answer, given, written, **more):
    span.set_attributes(
        {
            "gen_ai.input.messages": json.dumps(sent),
            "gen_ai.output.messages": json.dumps([answer]),
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
            "gen_ai.usage.input_tokens": given,
            "gen_ai.usage.output_tokens": written,
            "gen_ai.response.model": "gpt-4o-2024-11-20",
            "gen_ai.response.id": "r-1",
            "gen_ai.response.finish_reasons": [answer["finish_reason"]],
            **more,
        }
    )


def converse(tracer, name="forecaster", **about):
    """Do what an instrumented agent does: two model calls, and a tool between them."""
    with tracer.start_as_current_span("invoke_agent", attributes=agent(name, **about)):
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=chat()) as span:
            answered(span, QUESTION, ASKS, 1200, 40, **{"gen_ai.usage.cache_read.input_tokens": 1000})
        with tracer.start_as_current_span("execute_tool weather", attributes=tool()) as span:
            span.set_attribute("gen_ai.tool.call.result", json.dumps({"temp": 3}))
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=chat()) as span:
            answered(span, [*QUESTION, ASKS, GIVEN], ANSWERS, 1260, 12)


def test_a_run_is_recorded_from_its_spans(stack, tracer_of):
    converse(tracer_of(), **{"gen_ai.conversation.id": "alice", "user.id": "u-7"})
    run = the_recorded(stack.store)
    assert run.types == [
        "RunStarted",
        "ModelStarted",
        "agent.ModelRequested",
        "TextDelta",
        "ToolCallCompleted",
        "UsageRecorded",
        "agent.ModelFinished",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ModelStarted",
        "agent.ModelRequested",
        "TextDelta",
        "UsageRecorded",
        "agent.ModelFinished",
        "RunCompleted",
    ]
    assert (run.record.session_id, run.record.provider, run.record.model) == ("alice", "unknown", "unknown")
    assert run.record.metadata["agent_name"] == "forecaster"
    assert run.record.metadata["user_id"] == "u-7"
    assert (run.state.status, run.state.iteration) == (RunStatus.COMPLETED, 2)
    assert run.state.total_usage.total_tokens == 1200 + 40 + 1260 + 12
    assert run.state.total_usage.cache_read_input_tokens == 1000


def test_all_that_a_call_gives_is_the_calls(stack, tracer_of):
    converse(tracer_of())
    run = the_recorded(stack.store)
    first, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["model_call_id"] for each in run.of("TextDelta")] == [first, second]
    assert run.of("ToolCallCompleted")[0]["call"] == {"id": "t1", "name": "weather", "arguments": {"city": "Oslo"}}
    assert [each["model_call_id"] for each in run.of("ToolExecutionFinished")] == [first]
    finished = run.of("agent.ModelFinished")
    assert [each["finish_reason"] for each in finished] == ["tool_calls", "stop"]
    assert {each["model"] for each in finished} == {"gpt-4o-2024-11-20"}
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": {"temp": 3}}}


def test_what_the_model_was_sent_is_read_back_whole(stack, tracer_of):
    converse(tracer_of())
    requests = Requests()
    for each in the_recorded(stack.store).of("agent.ModelRequested"):
        event = core_decoder.decode_one(json.dumps(each).encode())
        assert isinstance(event, ModelRequested)
        requests.add(event)
    assert [each.messages for each in requests.by_call.values()] == [QUESTION, [*QUESTION, ASKS, GIVEN]]
    assert all(each.is_whole for each in requests.by_call.values())


def test_a_run_under_way_can_be_seen(stack, tracer_of):
    tracer = tracer_of(interval=0.0)
    with tracer.start_as_current_span("invoke_agent", attributes=agent()):
        span = tracer.start_span("chat", attributes=chat())
        tracer_flush(tracer)
        assert the_recorded(stack.store).types == ["RunStarted", "ModelStarted"]
        span.end()
    assert the_recorded(stack.store).state.status is RunStatus.COMPLETED


def tracer_flush(tracer):
    assert tracer.span_processor.force_flush(10_000)


def test_agents_in_agents_are_steps_and_their_calls_are_in_them(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("invoke_agent", attributes=agent("team")):
        for name in ("researcher", "writer"):
            with (
                tracer.start_as_current_span("invoke_agent", attributes=agent(name)),
                tracer.start_as_current_span("GET /v1"),
                tracer.start_as_current_span("chat", attributes=chat()),
            ):
                pass
    run = the_recorded(stack.store)
    steps = {each["step_id"]: each["name"] for each in run.of("agent.StepStarted")}
    assert list(steps.values()) == ["researcher", "writer"]
    assert [steps[each["step_id"]] for each in run.of("ModelStarted")] == ["researcher", "writer"]
    assert {each["step_id"] for each in run.of("agent.StepFinished")} == set(steps)


def test_calls_at_the_same_time_are_told_apart(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("invoke_agent", attributes=agent()):
        spans = [tracer.start_span("chat", attributes=chat(**{"gen_ai.request.model": name})) for name in "ab"]
        for span, text in zip(spans, ("A", "B"), strict=True):
            said = {"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}
            answered(span, QUESTION, said, 10, 1)
        for span in spans:
            span.end()
    run = the_recorded(stack.store)
    models = {each["model_call_id"]: each["model"] for each in run.of("ModelStarted")}
    assert {models[each["model_call_id"]]: each["delta"] for each in run.of("TextDelta")} == {"a": "A", "b": "B"}


def test_open_inference_is_read_too(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span(
        "Crew.kickoff", attributes={"openinference.span.kind": "AGENT", "session.id": "s"}
    ):
        with tracer.start_as_current_span("retrieve", attributes={"openinference.span.kind": "RETRIEVER"}):
            pass
        with tracer.start_as_current_span(
            "LLM", attributes={"openinference.span.kind": "LLM", "llm.provider": "openai", "llm.model_name": "gpt-4o"}
        ) as span:
            span.set_attributes(
                {
                    "llm.input_messages.0.message.role": "user",
                    "llm.input_messages.0.message.content": "Hi",
                    "llm.output_messages.0.message.role": "assistant",
                    "llm.output_messages.0.message.contents.0.message_content.type": "text",
                    "llm.output_messages.0.message.contents.0.message_content.text": "Hello",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "t1",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city":"Oslo"}',
                    "llm.token_count.prompt": 1520,
                    "llm.token_count.completion": 5,
                    "llm.token_count.prompt_details.cache_read": 1000,
                    "llm.token_count.prompt_details.cache_write": 500,
                    "llm.invocation_parameters": '{"temperature": 0}',
                    "llm.tools.0.tool.json_schema": '{"name": "weather"}',
                }
            )
        with tracer.start_as_current_span(
            "weather", attributes={"openinference.span.kind": "TOOL", "tool.name": "weather", "tool_call.id": "t1"}
        ) as span:
            span.set_attribute("output.value", "3")
    run = the_recorded(stack.store)
    assert run.record.session_id == "s"
    assert [each["kind"] for each in run.of("agent.StepStarted")] == ["retriever"]
    assert run.text == "Hello"
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"city": "Oslo"}
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "3"}}
    assert run.of("UsageRecorded")[0]["usage"] == {
        "input_tokens": 1520,
        "output_tokens": 5,
        "total_tokens": 1525,
        "cache_creation_input_tokens": 500,
        "cache_read_input_tokens": 1000,
    }
    request = run.of("agent.ModelRequested")[0]
    assert request["messages"] == [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
    assert (request["parameters"], request["tool_definitions"]) == ({"temperature": 0}, [{"name": "weather"}])


def test_the_names_of_before_are_read_and_what_is_in_a_span_event(stack, tracer_of):
    with tracer_of().start_as_current_span(
        "chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m"}
    ) as span:
        span.set_attributes({"gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5})
        span.add_event("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": json.dumps([ANSWERS])})
    run = the_recorded(stack.store)
    assert (run.record.provider, run.record.model, run.text) == ("openai", "m", "3 degrees.")
    assert run.state.total_usage.total_tokens == 15
    assert run.state.status is RunStatus.COMPLETED


def test_a_span_that_says_late_what_it_is_is_recorded_all_the_same(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("invoke_agent", attributes=agent()), tracer.start_as_current_span("late") as span:
        span.set_attributes(chat())
        answered(span, QUESTION, ANSWERS, 10, 5)
    assert the_recorded(stack.store).state.total_usage.total_tokens == 15


def test_times_are_those_of_the_spans_to_the_nanosecond(stack, tracer_of):
    tracer = tracer_of()
    root = tracer.start_span("invoke_agent", attributes=agent(), start_time=1_769_860_800_123_456_789)
    with_root = set_span_in_context(root)
    call = tracer.start_span("chat", with_root, attributes=chat(), start_time=1_769_860_801_000_000_001)
    call.end(1_769_860_801_500_000_001)
    root.end(1_769_860_802_000_000_000)
    run = the_recorded(stack.store)
    assert run.of("ModelStarted")[0]["timestamp"] == "2026-01-31T12:00:01.000000001Z"
    assert run.of("agent.ModelFinished")[0]["duration_ms"] == 500
    assert run.of("RunCompleted")[0]["timestamp"] == "2026-01-31T12:00:02.000000000Z"


# ---------------------------------------------------------------- what fails


def test_what_raises_is_told_with_its_class(stack, tracer_of):
    tracer = tracer_of()
    with (
        pytest.raises(LookupError),
        tracer.start_as_current_span("invoke_agent", attributes=agent()),
        tracer.start_as_current_span("execute_tool", attributes=tool()),
    ):
        raise LookupError("no such city")
    run = the_recorded(stack.store)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "LookupError: no such city"}}
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "LookupError: no such city")


def test_a_model_call_that_fails_is_a_failed_call(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("invoke_agent", attributes=agent()):
        span = tracer.start_span("chat", attributes=chat(**{"error.type": "RateLimitError"}))
        span.set_status(Status(StatusCode.ERROR, "slow down"))
        span.end()
    [failed] = the_recorded(stack.store).of("agent.ModelFailed")
    assert (failed["error_type"], failed["error"]) == ("RateLimitError", "slow down")


def test_an_agent_that_is_cancelled_is_cancelled(stack, tracer_of):
    span = tracer_of().start_span("invoke_agent", attributes=agent())
    span.record_exception(KeyboardInterrupt())
    span.set_status(Status(StatusCode.ERROR))
    span.end()
    assert the_recorded(stack.store).state.status is RunStatus.CANCELLED


# ---------------------------------------------------------------- whose spans, and how many


def test_spans_of_no_agent_are_no_runs(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("GET /"), tracer.start_as_current_span("SELECT"):
        pass
    assert all_recorded(stack.store) == []


def test_agents_of_one_trace_that_are_not_in_each_other_are_runs_of_their_own(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("POST /chat"):
        converse(tracer)
        converse(tracer)
    runs = all_recorded(stack.store)
    assert len(runs) == 2
    assert len({run.record.metadata["trace_id"] for run in runs}) == 1


def test_agents_on_several_threads_are_kept_apart(stack, tracer_of):
    tracer = tracer_of()
    threads = [threading.Thread(target=converse, args=(tracer, f"agent-{n}")) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = all_recorded(stack.store)
    assert sorted(run.record.metadata["agent_name"] for run in runs) == [f"agent-{n}" for n in range(5)]
    assert {run.state.total_usage.total_tokens for run in runs} == {2512}


def test_what_nobody_ended_is_closed_with_the_provider(stack):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BehestSpanProcessor(stack.store))
    provider.get_tracer("i").start_span("invoke_agent", attributes=agent())
    provider.shutdown()
    assert the_recorded(stack.store).types == ["RunStarted"]


def test_without_content_nothing_that_was_said_is_recorded(stack, tracer_of):
    converse(tracer_of(content=False))
    run = the_recorded(stack.store)
    assert run.state.total_usage.total_tokens == 2512
    assert "degrees" not in json.dumps(run.events)
    assert "Oslo" not in json.dumps(run.events)


def test_a_setting_that_there_is_not_is_refused_by_name(stack):
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestSpanProcessor(stack.store, intervall=1)


def test_a_table_that_is_away_is_not_in_the_agents_way(stack, tracer_of, caplog):
    let_through = refuse_writes(stack)
    converse(tracer_of(give_up_after=0.0))
    let_through()
    assert "agent goes on" not in caplog.text


def test_odd_attributes_are_no_reason_to_lose_a_span(stack, tracer_of):
    tracer = tracer_of()
    with tracer.start_as_current_span("invoke_agent", attributes=agent()):
        odd = {
            "gen_ai.input.messages": "[not json",
            "gen_ai.output.messages": '[1, {"parts": 5}, {"parts": [1, {"type": "text"}]}]',
            "gen_ai.usage.input_tokens": -5,
            "gen_ai.response.finish_reasons": (),
        }
        with tracer.start_as_current_span("chat", attributes=chat(**odd)):
            pass
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", "agent.ModelFinished", "RunCompleted"]
