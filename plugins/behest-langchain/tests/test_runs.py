"""What is one run: where it begins and ends, its id, session and metadata."""

import asyncio
import subprocess
import sys
import threading
from uuid import UUID, uuid4

import pytest
from behest_langchain import BehestCallbackHandler, known_runs
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_models import (
    ANSWERS,
    ASKS,
    MODEL_ANSWERS,
    MODEL_ASKS,
    PROMPT,
    QUESTION,
    TOOL,
    asking_graph,
    get_weather,
    graph_of,
    model_of,
    work_of,
)
from langgraph.types import Command
from langsmith.run_helpers import tracing_context
from langsmith.run_trees import RunTree

from behest_core.model.state import RunStatus
from behest_core.recording.recorder import RunRecorder
from behest_core.testing.recorded import all_recorded, recorded, the_recorded


def test_a_graph_is_recorded_from_its_start_to_its_answer(stack, config):
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.text == "Let me look.3 degrees."
    assert [each["iteration"] for each in run.of("ModelStarted")] == [1, 2]
    assert {(each["provider"], each["model"]) for each in run.of("ModelStarted")} == {("stub", "stub-1")}
    assert run.of("ToolCallCompleted")[0]["call"] == {
        "id": "call-1",
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    assert [each["usage"] for each in run.of("UsageRecorded")] == [
        {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        {"input_tokens": 120, "output_tokens": 5, "total_tokens": 125},
    ]
    assert [each["message_id"] for each in run.of("AssistantMessageCommitted")] == ["message-1", "message-2"]
    assert (run.state.status, run.state.last_finish, run.state.iteration) == (RunStatus.COMPLETED, "stop", 2)
    assert (run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == (220, 15)


def test_asynchronous_code_is_recorded_alike(stack, config):
    asyncio.run(graph_of(model_of(ASKS, ANSWERS)).ainvoke(QUESTION, config))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.status is RunStatus.COMPLETED


def test_synchronous_code_within_an_event_loop_is_recorded_alike(stack, config):
    async def cell_of_a_notebook():
        graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
        assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]

    asyncio.run(cell_of_a_notebook())


def test_a_run_that_was_awaited_is_in_the_log(stack, config):
    async def invoke():
        await graph_of(model_of(ANSWERS)).ainvoke(QUESTION, config)
        assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]

    asyncio.run(invoke())


def test_the_end_of_a_run_holds_up_no_event_loop(stack, config, monkeypatch):
    closing, go_on = threading.Event(), threading.Event()
    close = RunRecorder.close

    def wait(*args):
        closing.set()
        assert go_on.wait(60)
        return close(*args)

    monkeypatch.setattr(RunRecorder, "close", wait)

    async def invoke():
        task = asyncio.create_task(graph_of(model_of(ANSWERS)).ainvoke(QUESTION, config))
        await asyncio.to_thread(closing.wait, 60)
        go_on.set()
        await task

    asyncio.run(invoke())
    assert the_recorded(stack.store).state.status is RunStatus.COMPLETED


def test_a_thread_keeps_its_event_loop(stack, config):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        graph_of(model_of(ANSWERS)).invoke(QUESTION, config)
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_tool_that_is_called_by_itself_is_a_run(stack, handler):
    get_weather.invoke({"city": "Oslo"}, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *TOOL, "RunCompleted"]
    finished = run.of("ToolExecutionFinished")[0]
    assert finished["result"] == {"Success": {"output": {"city": "Oslo", "degrees": 3}}}
    assert finished["call_id"] == run.record.run_id


def test_a_chain_is_a_run(stack, handler):
    (PROMPT | model_of(ANSWERS) | StrOutputParser()).invoke({"question": "Oslo?"}, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert (run.state.provider, run.state.model) == ("stub", "stub-1")
    assert (run.record.provider, run.record.model) == ("unknown", "unknown")


def test_each_input_of_a_batch_is_a_run(stack, handler):
    chain = PROMPT | model_of(ANSWERS)
    chain.batch([{"question": str(number)} for number in range(5)], {"callbacks": [handler]})
    runs = all_recorded(stack.store)
    assert [work_of(run) for run in runs] == [["RunStarted", *MODEL_ANSWERS, "RunCompleted"]] * 5


def test_what_langsmith_traces_around_an_agent_does_not_hide_it(stack, config):
    with tracing_context(parent=RunTree(name="around", run_type="chain"), enabled=False):
        graph_of(model_of(ANSWERS)).invoke(QUESTION, config)
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_the_handler_may_be_bound_to_a_graph(stack, handler):
    graph_of(model_of(ANSWERS)).with_config(callbacks=[handler]).invoke(QUESTION)
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_what_goes_on_after_its_run_is_over_is_no_run(stack, handler):
    async def one_fails():
        failed = asyncio.Event()

        async def late(question):
            await failed.wait()
            return await model_of(ANSWERS).ainvoke(question)

        async def fail(question):
            raise ConnectionError("reset")

        both = RunnableLambda(lambda question: question) | {"late": RunnableLambda(late), "fail": RunnableLambda(fail)}
        with pytest.raises(ConnectionError):
            await both.ainvoke("Oslo?", {"callbacks": [handler]})
        failed.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(one_fails())
    assert work_of(the_recorded(stack.store)) == ["RunStarted", "RunFailed"]


def test_the_run_id_is_langchains(stack, config):
    run_id = uuid4()
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "run_id": run_id, "metadata": {"customer": "c-1"}})
    record = recorded(stack.store, str(run_id)).record
    assert record.metadata == {
        "framework": "langchain",
        "framework_run_id": str(run_id),
        "thread_id": "thread-1",
        "customer": "c-1",
    }
    assert record.session_id == "thread-1"


def test_without_one_the_run_id_is_the_one_that_langchain_makes(stack, config):
    seen = []

    class Watching(BaseCallbackHandler):
        def on_chain_start(self, *_, run_id, parent_run_id, **__):
            seen.append((run_id, parent_run_id))

    graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "callbacks": [*config["callbacks"], Watching()]})
    assert seen[0] == (UUID(the_recorded(stack.store).record.run_id), None)


def test_metadata_and_session_of_the_handler_are_for_runs_without_their_own(stack):
    handler = BehestCallbackHandler(stack.store, session_id="s", metadata={"team": "a", "customer": None})
    for metadata in ({}, {"thread_id": "t", "customer": "c-1"}):
        model_of(ANSWERS).invoke("Oslo?", {"callbacks": [handler], "metadata": metadata})
    first, second = (run.record for run in all_recorded(stack.store))
    assert (first.session_id, first.metadata["team"], first.metadata["customer"]) == ("s", "a", None)
    assert (second.session_id, second.metadata["team"], second.metadata["customer"]) == ("t", "a", "c-1")
    assert {*first.metadata} == {"framework", "framework_run_id", "team", "customer"}


def test_a_run_id_that_comes_again_continues_its_run(stack, config):
    run_id = uuid4()
    for _ in range(2):
        graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "run_id": run_id})
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"] * 2


def test_nothing_is_kept_of_runs_that_are_over(stack, handler, config):
    graph = asking_graph()
    graph.invoke(QUESTION, config)
    graph.invoke(Command(resume=4), config)
    list((PROMPT | model_of(ANSWERS)).stream({"question": "Oslo?"}, config))
    assert len(handler._runs) == 0


def test_runs_that_never_end_are_let_go(stack, handler, monkeypatch):
    monkeypatch.setattr(known_runs, "OPEN_AT_MOST", 2)
    for number in range(4):
        handler.on_chain_start({}, {}, run_id=UUID(int=number))
    assert [*handler._runs._handlers] == [UUID(int=2), UUID(int=3)]
    handler.on_chain_end({}, run_id=UUID(int=0))
    for number in (2, 3):
        handler.on_chain_end({}, run_id=UUID(int=number))
    assert [work_of(run) for run in all_recorded(stack.store)].count(["RunStarted", "RunCompleted"]) == 2


def test_langgraph_need_not_be_there():
    program = """
import sys
sys.modules["langgraph.errors"] = None
from behest_langchain import BehestCallbackHandler, known_runs
from langchain_core.callbacks import BaseCallbackHandler
assert BehestCallbackHandler.__bases__ == (BaseCallbackHandler,)
assert "langgraph.callbacks" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("where", ["config", "constructor"])
def test_two_handlers_record_a_run_once(stack, handler, where):
    other = BehestCallbackHandler(stack.store)
    callbacks = [handler, other] if where == "config" else [handler]
    more = {} if where == "config" else {"callbacks": [other]}
    graph_of(model_of(ASKS, ANSWERS, **more)).invoke(QUESTION, {"callbacks": callbacks})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 235


def test_provider_and_model_of_a_graph_are_those_of_its_first_model(stack, handler):
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    [started] = run.of("RunStarted")
    assert (started["provider"], started["model"]) == (run.state.provider, run.state.model) == ("stub", "stub-1")
    assert started["timestamp"] < run.events[1]["timestamp"]
