"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import pytest
from behest_langchain import BehestCallbackHandler
from behest_langchain.words import finish_reason
from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_models import (
    ANSWERS,
    ASKS,
    CALLED,
    MODEL_ANSWERS,
    MODEL_ASKS,
    PROMPT,
    QUESTION,
    USED,
    answer,
    graph_of,
    model_of,
    work_of,
)

from behest_core.testing.recorded import all_recorded, the_recorded


def test_a_model_that_a_retriever_calls_is_part_of_the_run(stack, handler):
    class Rewriting(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            found = model_of(ANSWERS).invoke(query, {"callbacks": run_manager.get_child()})
            return [Document(found.text)]

    (Rewriting() | RunnableLambda(len)).invoke("Oslo?", {"callbacks": [handler]})
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_a_model_that_is_called_by_itself_is_a_run_of_its_provider_and_model(stack, handler):
    model_of(ANSWERS).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert (run.state.provider, run.state.model) == ("stub", "stub-1")


def test_provider_and_model_of_a_graph_are_the_handlers(stack):
    handler = BehestCallbackHandler(stack.store, provider="stub", model="several")
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert (run.record.provider, run.record.model) == ("stub", "several")
    assert run.of("ModelStarted")[0]["model"] == "stub-1"


def test_a_model_that_is_no_chat_model_is_recorded_without_tokens(stack, handler):
    FakeListLLM(responses=["3 degrees."]).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "TextDelta", *USED[1:], "RunCompleted"]
    assert run.text == "3 degrees."


def test_a_model_that_is_made_with_the_handler_records_its_own_calls(stack, handler):
    graph_of(model_of(ASKS, ANSWERS, callbacks=[handler])).invoke(QUESTION)
    ends = ["RunCompleted"]
    assert [work_of(run) for run in all_recorded(stack.store)] == [
        ["RunStarted", *each, *ends] for each in (MODEL_ASKS, MODEL_ANSWERS)
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"stop_reason": "tool_use"}, "tool_calls"),
        ({"stopReason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"stop_reason": "pause_turn"}, "pause_turn"),
        ({"finish_reason": None}, None),
        ({}, None),
    ],
)
def test_finish_reasons_have_the_seeds_words_where_there_are_some(told, expected):
    assert finish_reason(told) == expected


def test_the_finish_reason_is_the_last_messages(stack, handler):
    model_of(answer("3 deg", finish_reason="max_tokens")).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).state.last_finish == "length"


def test_a_model_to_fall_back_on_saves_the_run(stack, handler):
    model = model_of(ConnectionError("reset")).with_fallbacks([model_of(ANSWERS, name_of_model="stub-2")])
    (PROMPT | model).invoke({"question": "Oslo?"}, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "agent.ModelFailed", *MODEL_ANSWERS, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["stub-1", "stub-2"]


def test_a_model_that_is_tried_again_is_one_run(stack, handler):
    model = model_of(ANSWERS, failures=[ConnectionError("reset")]).with_retry(wait_exponential_jitter=False)
    model.invoke("Oslo?", {"callbacks": [handler]})
    assert work_of(the_recorded(stack.store)) == [
        "RunStarted",
        *CALLED,
        "agent.ModelFailed",
        *MODEL_ANSWERS,
        "RunCompleted",
    ]
