"""Several runs at once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from langchain_models import ANSWERS, ASKS, MODEL_ANSWERS, MODEL_ASKS, QUESTION, TOOL, graph_of, model_of, work_of

from behest_core.testing.recorded import all_recorded


def test_runs_in_threads_are_told_apart(stack, handler):
    graph = graph_of(model_of(ASKS, ANSWERS))
    barrier = threading.Barrier(4)

    def invoke(number):
        barrier.wait()
        graph.invoke(QUESTION, {"callbacks": [handler], "configurable": {"thread_id": str(number)}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(invoke, range(4)))
    runs = all_recorded(stack.store)
    assert {run.record.session_id for run in runs} == {"0", "1", "2", "3"}
    assert [work_of(run) for run in runs] == [["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]] * 4


def test_runs_in_tasks_are_told_apart(stack, handler):
    async def invoke_all():
        graph = graph_of(model_of(ASKS, ANSWERS))
        await asyncio.gather(*(graph.ainvoke(QUESTION, {"callbacks": [handler]}) for _ in range(4)))

    asyncio.run(invoke_all())
    runs = all_recorded(stack.store)
    assert [work_of(run) for run in runs] == [["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]] * 4
    assert {run.state.total_usage.total_tokens for run in runs} == {235}
