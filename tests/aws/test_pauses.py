"""Runs that wait for an answer, and the runs that bring it."""

from __future__ import annotations

import pytest

from behest_core.errors import AlreadyRecordedError
from behest_core.model.state import RunStatus, UnknownFinishReason
from behest_core.recording.adapter import begin, pause, resume, unobtrusive
from behest_core.testing.recorded import recorded, when_answered


def paused_run(stack, run_id, pending, session_id="s", **about):
    run = begin(stack.store, "some", run_id, provider="p", model="m", session_id=session_id, **about)
    run.model_call()
    pause(run, "approval", pending)
    run.close()
    return run


def answering_run(stack, run_id="answer", session_id="s", **about):
    return begin(stack.store, "some", run_id, provider="p", model="m", session_id=session_id, **about)


def resumed(stack, run_id):
    return [
        {key: each[key] for key in each if key not in ("type", "timestamp")}
        for each in recorded(stack.store, run_id).of("agent.Resumed")
    ]


def test_both_logs_say_who_answers_whom_and_the_run_that_waited_is_over(stack):
    waited = paused_run(stack, "waits", ["c1", "c2"])
    run = answering_run(stack)
    resume(stack.store, run, {"c1": "granted", "c2": "denied"}, paused=waited.run_id)
    run.completed()
    run.close()
    when_answered()
    answers = {"c1": "granted", "c2": "denied"}
    assert resumed(stack, "answer") == [{"answers": answers, "paused_run_id": "waits"}]
    assert resumed(stack, "waits") == [{"answers": answers, "answering_run_id": "answer"}]
    state = recorded(stack.store, "waits").state
    assert (state.status, state.last_finish) == (RunStatus.COMPLETED, UnknownFinishReason("paused"))


def test_the_run_that_waited_is_found_by_what_it_waited_for(stack):
    for run_id, pending in (("one", ["c1"]), ("two", ["c2"]), ("three", ["c3"])):
        paused_run(stack, run_id, pending)
    paused_run(stack, "elsewhere", ["c2"], session_id="another")
    stack.deliver()
    run = answering_run(stack)
    resume(stack.store, run, {"c2": "granted"})
    run.completed()
    run.close()
    when_answered()
    assert resumed(stack, "answer") == [{"answers": {"c2": "granted"}, "paused_run_id": "two"}]
    assert [bool(resumed(stack, run_id)) for run_id in ("one", "two", "three", "elsewhere")] == [
        False,
        True,
        False,
        False,
    ]


def test_of_several_that_wait_for_the_same_it_is_the_run_of_the_same_agent(stack):
    for agent_name in ("team", "member"):
        paused_run(stack, f"{agent_name} waits", ["c1"], agent_name=agent_name)
    for agent_name in ("team", "member"):
        stack.deliver()
        run = answering_run(stack, f"{agent_name} answers", agent_name=agent_name)
        resume(stack.store, run, {"c1": "granted"})
        run.close()
        when_answered()
    assert [each["paused_run_id"] for name in ("team", "member") for each in resumed(stack, f"{name} answers")] == [
        "team waits",
        "member waits",
    ]


def test_a_run_that_another_agent_answers_is_found_where_no_other_waits(stack):
    paused_run(stack, "waits", ["c1"], agent_name="triage")
    stack.deliver()
    run = answering_run(stack, agent_name="billing")
    resume(stack.store, run, {"c1": "granted"})
    run.close()
    when_answered()
    assert resumed(stack, "answer") == [{"answers": {"c1": "granted"}, "paused_run_id": "waits"}]


def test_a_run_that_waits_without_ids_is_answered_by_whatever_comes_in_its_session(stack):
    paused_run(stack, "waits", [])
    stack.deliver()
    run = answering_run(stack)
    resume(stack.store, run, {})
    run.close()
    when_answered()
    assert resumed(stack, "waits") == [{"answers": {}, "answering_run_id": "answer"}]


def test_an_answer_that_no_run_waits_for_is_recorded_all_the_same(stack):
    run = answering_run(stack)
    resume(stack.store, run, {"c1": "granted"})
    run.close()
    when_answered()
    assert resumed(stack, "answer") == [{"answers": {"c1": "granted"}}]


def test_one_word_answers_all_that_waits(stack):
    paused_run(stack, "waits", ["c1", "c2"])
    stack.deliver()
    run = answering_run(stack)
    resume(stack.store, run, "granted")
    when_answered()
    run.completed()
    run.close()
    answers = {"c1": "granted", "c2": "granted"}
    assert resumed(stack, "answer") == [{"answers": answers, "paused_run_id": "waits"}]
    assert resumed(stack, "waits") == [{"answers": answers, "answering_run_id": "answer"}]


def test_one_word_that_nothing_waits_for_is_no_answer(stack):
    run = answering_run(stack)
    resume(stack.store, run, "granted")
    when_answered()
    run.close()
    assert resumed(stack, "answer") == []


def test_a_run_that_is_answered_is_not_answered_twice(stack):
    paused_run(stack, "waits", ["c1"])
    for run_id in ("first", "second"):
        stack.deliver()
        run = answering_run(stack, run_id)
        resume(stack.store, run, {"c1": "granted"})
        run.close()
        when_answered()
    assert len(resumed(stack, "waits")) == 1
    assert resumed(stack, "second") == [{"answers": {"c1": "granted"}}]


def test_a_run_that_goes_on_itself_says_so_once(stack):
    paused_run(stack, "waits", ["c1"])
    run = answering_run(stack, "waits")
    resume(stack.store, run, {"c1": "expired"}, paused="waits")
    run.completed()
    run.close()
    assert resumed(stack, "waits") == [{"answers": {"c1": "expired"}}]
    assert recorded(stack.store, "waits").state.status is RunStatus.COMPLETED


def test_a_table_that_cannot_be_read_is_told_and_stops_nobody(stack, caplog):
    run = answering_run(stack)
    run.completed()
    run.close()
    stack.dynamodb.delete_table(TableName=stack.state_table)
    resume(stack.store, run, {"c1": "granted"})
    when_answered()
    assert "could not record that run answer answers a paused one" in caplog.text


# ---------------------------------------------------------------- who records


def test_a_run_that_is_being_recorded_is_not_recorded_twice(stack, caplog):
    run = begin(stack.store, "some", "r", provider="p", model="m")
    with pytest.raises(AlreadyRecordedError, match="run r is recorded by another recorder of this process"):
        begin(stack.store, "some", "r", provider="p", model="m")
    other = None
    with unobtrusive():
        other = begin(stack.store, "some", "r", provider="p", model="m")
    assert (other, caplog.text) == (None, "")
    run.completed()
    run.close()
    begin(stack.store, "some", "r", provider="p", model="m").close()
    assert recorded(stack.store, "r").types == ["RunStarted", "RunCompleted", "RunStarted"]


def test_what_a_child_is_of_its_parent_is_in_its_metadata(stack):
    runs = [begin(stack.store, "some", "root", provider="p", model="m", session_id="s", user_id=7, tags=["a"])]
    for run_id in ("child", "grandchild"):
        runs.append(begin(stack.store, "some", run_id, provider="p", model="m", agent_name=run_id, parent=runs[-1]))
    for run in runs:
        run.close()
    about = [recorded(stack.store, run.run_id).record for run in runs]
    base = {"framework": "some"}
    assert [each.metadata for each in about] == [
        {**base, "framework_run_id": "root", "user_id": 7, "tags": ["a"]},
        {
            **base,
            "framework_run_id": "child",
            "agent_name": "child",
            "parent_run_id": "root",
            "root_run_id": "root",
        },
        {
            **base,
            "framework_run_id": "grandchild",
            "agent_name": "grandchild",
            "parent_run_id": "child",
            "root_run_id": "root",
        },
    ]
    assert {each.session_id for each in about} == {"s"}


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_id_is_none(stack, empty):
    runs = [begin(stack.store, "some", empty, provider="p", model="m", session_id=empty) for _ in range(2)]
    for run in runs:
        run.close()
    assert runs[0].run_id != runs[1].run_id
    assert runs[0].record.session_id != runs[1].record.session_id
