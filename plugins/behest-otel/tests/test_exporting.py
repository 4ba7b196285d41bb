"""Recorded runs as spans, and back again."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from behest_otel import BehestSpanProcessor, spans_of
from behest_otel.attributes import Told
from opentelemetry.trace import StatusCode
from typer.testing import CliRunner

from behest_core.cli.app import app
from behest_core.model.events import ToolExecutionResult
from behest_core.testing.recorded import all_recorded, recorded

USER = {"role": "user", "content": "How warm is it in Oslo?"}


def record(stack, run_id="r", **more):
    """Record a run with steps, parallel calls, tools of which one fails, and what the model was sent."""
    with stack.store.recorder(
        provider="openai", model="gpt-4o", session_id="alice", run_id=run_id, metadata={"agent_name": "team"}, **more
    ) as run:
        outer = run.step_started("researcher", "agent")
        inner = run.step_started("look-up", "node", parent_step_id=outer)
        one = run.model_call(messages=[USER], system_instructions="Be brief.", step_id=inner)
        other = run.model_call(messages=[USER], model="gpt-4o-mini", step_id=outer)
        one.text("Let me see.")
        one.tool_called("t1", "weather", {"city": "Oslo"})
        one.tool_called("t2", "clock", {})
        one.usage(1200, 40, cache_read_input_tokens=1000, reasoning_output_tokens=8)
        one.finished("tool_calls", response_id="r-1", model="gpt-4o-2024-11-20")
        run.tool_started("t1", "weather")
        run.tool_started("t2", "clock")
        run.tool_finished("t2", "clock", ToolExecutionResult.failed("LookupError: no clock"))
        run.tool_finished("t1", "weather", ToolExecutionResult.ok({"temp": 3}))
        other.usage(10, 2)
        other.failed(TimeoutError("no answer"))
        run.step_finished(inner)
        run.step_finished(outer)
        last = run.model_call(messages=[USER, {"role": "tool", "tool_call_id": "t1", "content": "3"}])
        last.text("3 degrees.")
        last.usage(1260, 12)
        last.finished("stop")
    return run.run_id


def exported(stack, run_id):
    run, events = stack.store.event_log.whole(run_id)
    return list(spans_of(run, (each.event for each in events)))


def tree(spans):
    """Return the names of the spans, each with that of its parent."""
    names = {span.context.span_id: span.name for span in spans}
    return [(span.name, None if span.parent is None else names[span.parent.span_id]) for span in spans]


def test_a_run_is_a_tree_of_spans_by_the_conventions(stack):
    spans = exported(stack, record(stack))
    assert tree(spans) == [
        ("invoke_agent team", None),
        ("invoke_agent researcher", "invoke_agent team"),
        ("look-up", "invoke_agent researcher"),
        ("chat gpt-4o", "look-up"),
        ("chat gpt-4o-mini", "invoke_agent researcher"),
        ("execute_tool weather", "invoke_agent team"),
        ("execute_tool clock", "invoke_agent team"),
        ("chat gpt-4o", "invoke_agent team"),
    ]
    call = spans[3].attributes
    assert call["gen_ai.usage.input_tokens"] == 1200
    assert call["gen_ai.usage.cache_read.input_tokens"] == 1000
    assert call["gen_ai.usage.reasoning.output_tokens"] == 8
    assert call["gen_ai.response.model"] == "gpt-4o-2024-11-20"
    assert call["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert json.loads(call["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How warm is it in Oslo?"}]}
    ]
    assert json.loads(call["gen_ai.output.messages"])[0]["parts"][1]["id"] == "t1"
    assert json.loads(spans[7].attributes["gen_ai.input.messages"])[1]["parts"][0]["response"] == "3"
    assert {span.attributes.get("gen_ai.conversation.id") for span in spans if span.name.startswith("chat")} == {
        "alice"
    }


def test_what_failed_has_failed_and_says_why(stack):
    spans = exported(stack, record(stack))
    failed = {span.name: span.status.description for span in spans if span.status.status_code is StatusCode.ERROR}
    assert failed == {
        "chat gpt-4o-mini": "TimeoutError: no answer",
        "execute_tool clock": "LookupError: no clock",
    }


def test_spans_are_within_the_spans_that_they_are_in(stack):
    spans = exported(stack, record(stack))
    by_id = {span.context.span_id: span for span in spans}
    for span in spans:
        assert span.start_time <= span.end_time
        if span.parent is not None:
            above = by_id[span.parent.span_id]
            assert above.start_time <= span.start_time
            assert span.end_time <= above.end_time
    assert len({span.context.trace_id for span in spans}) == 1


def test_exporting_twice_gives_the_same(stack):
    run_id = record(stack)
    assert [span.to_json() for span in exported(stack, run_id)] == [span.to_json() for span in exported(stack, run_id)]


def test_a_run_under_way_ends_with_its_log(stack):
    run = stack.store.recorder(provider="p", model="m", run_id="r").start()
    run.model_call()
    run.tool_started("t", "weather")
    run.close()
    spans = exported(stack, "r")
    assert [span.name for span in spans] == ["invoke_agent", "chat m", "execute_tool weather"]
    assert {span.end_time for span in spans} == {spans[-1].start_time}


def replayed(stack, spans):
    """Record spans again, as if an agent made them: each starts and ends at its own time."""
    processor = BehestSpanProcessor(stack.store)
    moments = [(span.start_time, 0, place, span) for place, span in enumerate(spans)]
    moments += [(span.end_time, 1, -place, span) for place, span in enumerate(spans)]
    for _, is_end, _, span in sorted(moments, key=lambda each: each[:3]):
        (processor.on_end if is_end else processor.on_start)(span)
    [run] = [each for each in all_recorded(stack.store) if each.record.metadata.get("framework") == "opentelemetry"]
    return run


def essence(run):
    """Return what has to be the same on the way to spans and back: tokens, calls, tools, texts, the tree."""
    steps = {each["step_id"]: each["name"] for each in run.of("agent.StepStarted")}
    calls = {each["model_call_id"]: n for n, each in enumerate(run.of("ModelStarted"))}
    texts = dict.fromkeys(calls.values(), "")
    for each in run.of("TextDelta"):
        texts[calls[each["model_call_id"]]] += each["delta"]
    return {
        "usage": [(calls[each["model_call_id"]], each["usage"]) for each in run.of("UsageRecorded")],
        "total": run.state.total_usage,
        "calls": [(each["model"], steps.get(each.get("step_id"))) for each in run.of("ModelStarted")],
        "texts": texts,
        "asked": [(calls[each["model_call_id"]], each["call"]) for each in run.of("ToolCallCompleted")],
        "tools": sorted((each["call_id"], json.dumps(each["result"])) for each in run.of("ToolExecutionFinished")),
        "steps": [
            (each["name"], each["kind"], steps.get(each.get("parent_step_id"))) for each in run.of("agent.StepStarted")
        ],
        "failed": [each["error"] for each in run.of("agent.ModelFailed")],
        "answers": [
            (each["finish_reason"], each.get("model"), each.get("response_id"))
            for each in run.of("agent.ModelFinished")
        ],
        "status": run.state.status,
        "session": run.record.session_id,
        "agent": run.record.metadata["agent_name"],
    }


def test_a_run_comes_back_from_its_spans_as_it_was(stack):
    run_id = record(stack)
    again = replayed(stack, exported(stack, run_id))
    before, after = essence(recorded(stack.store, run_id)), essence(again)
    before["usage"].sort(key=lambda each: each[0])
    after["usage"].sort(key=lambda each: each[0])
    assert after == before
    assert again.record.metadata["exported_run_id"] == run_id


@pytest.mark.parametrize("kind", ["agent", "node", "handoff", "subgraph", "guardrail", "retriever"])
def test_every_kind_of_step_comes_back(stack, kind):
    with stack.store.recorder(provider="p", model="m", run_id="r", metadata={"agent_name": "a"}) as run:
        run.step_finished(run.step_started("one", kind))
    [span] = [span for span in exported(stack, "r") if span.parent is not None]
    assert Told.by(span).kind == kind


# ---------------------------------------------------------------- the command


def behest(*arguments):
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"BEHEST_PLUGINS": "otel"})


def test_the_command_writes_a_line_a_span(stack):
    run_id = record(stack)
    result = behest("otel", run_id)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, [line["name"] for line in lines][:2]) == (
        0,
        ["invoke_agent team", "invoke_agent researcher"],
    )
    assert lines[1]["parent_span_id"] == lines[0]["span_id"]


def test_a_run_that_is_not_there_is_told_in_one_line(stack):
    result = behest("otel", "nobody")
    assert (result.exit_code, result.stderr) == (1, "behest: there is no run nobody\n")


@pytest.fixture
def endpoint():
    """A server that takes traces: how it answers, its address, and what it was sent."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(
                (self.path, self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(404 if self.path == "/nowhere" else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_the_command_sends_runs_to_an_endpoint(stack, endpoint):
    address, taken = endpoint
    record(stack, "one")
    record(stack, "two")
    result = behest("otel", "one", "two", "--endpoint", f"{address}/v1/traces")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "behest: run one: 8 spans sent\nbehest: run two: 8 spans sent\n"
    assert [(path, kind) for path, kind, _ in taken] == [("/v1/traces", "application/x-protobuf")] * 2
    assert b"invoke_agent researcher" in taken[0][2]


def test_an_endpoint_that_takes_nothing_is_told(stack, endpoint):
    address, _ = endpoint
    result = behest("otel", record(stack), "--endpoint", f"{address}/nowhere")
    assert result.exit_code == 1
    assert result.stderr.endswith("did not take the spans of run r; see what it logs\n")
