import behest_approvals
import pytest
from behest_approvals import CALL_ID, PENDING, Denied, Expired, Granted, Requested
from msgspec.json import encode

from behest_core.model.agent_events import Paused, Resumed
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.testing.builders import at, model_started, raw_commit, run_completed, run_failed, run_started
from behest_core.testing.folding import assert_any_cut_gives_the_same, commits_of, folded, slice_of, table_of

TABLE = table_of(behest_approvals)
OUTCOMES = ("granted", "denied", "expired")


def requested(call_id="c1", second=2, **optional):
    return Requested(call_id=call_id, timestamp=at(second), **optional)


def granted(call_id="c1", by=None):
    return Granted(call_id=call_id, by=by, timestamp=at(3))


def denied(call_id="c1", by=None):
    return Denied(call_id=call_id, by=by, timestamp=at(3))


def expired(call_id="c1"):
    return Expired(call_id=call_id, timestamp=at(3))


def counts(state):
    return {name: state[name] for name in ("waiting", "requested", *OUTCOMES, "repeated", "unmatched") if state[name]}


def test_a_request_is_pending_with_what_a_person_needs_to_know():
    state = slice_of(TABLE, run_started(), requested(tool_name="send_money", reason="over 100 EUR"))
    assert state["pending"] == {"c1": {"since": at(2), "tool": "send_money", "reason": "over 100 EUR"}}
    assert counts(state) == {"waiting": 1, "requested": 1}


def test_what_a_request_does_not_say_is_absent():
    assert slice_of(TABLE, requested())["pending"] == {"c1": {"since": at(2)}}


@pytest.mark.parametrize(
    ("answer", "outcome"), [(granted(by="ada"), "granted"), (denied(by="ada"), "denied"), (expired(), "expired")]
)
def test_an_answer_ends_the_wait_and_is_counted(answer, outcome):
    state = slice_of(TABLE, requested(), requested("c2"), answer)
    assert list(state["pending"]) == ["c2"]
    assert counts(state) == {"waiting": 1, "requested": 2, outcome: 1}
    assert state["last_answer_by"] == (None if outcome == "expired" else "ada")


def test_only_the_first_answer_counts():
    state = slice_of(TABLE, requested(), granted(), granted(), denied(), expired())
    assert counts(state) == {"requested": 1, "granted": 1, "unmatched": 3}


def test_an_answer_to_nothing_is_counted_and_nothing_is_negative():
    state = slice_of(TABLE, denied("never asked"), requested())
    assert counts(state) == {"waiting": 1, "requested": 1, "unmatched": 1}


def test_a_request_that_is_repeated_waits_since_the_first():
    state = slice_of(TABLE, requested(second=2), requested(second=9))
    assert state["pending"]["c1"]["since"] == at(2)
    assert counts(state) == {"waiting": 1, "requested": 1, "repeated": 1}


def test_a_call_can_be_asked_for_again():
    assert counts(slice_of(TABLE, requested(), denied(), requested())) == {"waiting": 1, "requested": 2, "denied": 1}


def test_the_end_of_the_run_answers_nothing():
    assert counts(slice_of(TABLE, requested(), run_completed())) == {"waiting": 1, "requested": 1}


def paused(*pending, reason="approval"):
    return Paused(reason=reason, pending=list(pending), timestamp=at(4))


def test_the_run_waits_for_a_person_since_the_earliest_of_what_is_pending_and_of_its_pause():
    asked, later = requested("a", second=3), requested("b", second=2)
    assert since(asked) == since(asked, paused("a")) == f"{at(3)[:-1]}.000000000Z"
    assert since(asked, later) == f"{at(2)[:-1]}.000000000Z"
    assert since(asked, paused("a"), granted("a")) == since(paused("b")) == f"{at(4)[:-1]}.000000000Z"
    assert since(asked, granted("a")) is None


def since(*events):
    return slice_of(TABLE, *events)["waits_for_person_since"]


def test_a_paused_run_says_since_when_and_for_what():
    state = slice_of(TABLE, run_started(), model_started(), paused("call-1", "call-2"))
    assert state["paused"] == {"since": at(4), "reason": "approval", "pending": ["call-1", "call-2"]}


def test_what_is_kept_of_a_pause_has_bounds():
    state = slice_of(TABLE, paused(*("c" * 500 for _ in range(500)), reason="r" * 5000))
    assert state["paused"]["pending"] == ["c" * CALL_ID] * PENDING
    assert len(state["paused"]["reason"]) == 200


@pytest.mark.parametrize("event", [run_started(), model_started(), run_completed(), run_failed()])
def test_a_run_that_goes_on_or_ends_is_paused_no_more(event):
    assert slice_of(TABLE, paused("call-1"), event)["paused"] is None


def resumed(answers, **runs):
    return Resumed(answers=answers, timestamp=at(5), **runs)


@pytest.mark.parametrize("runs", [{}, {"answering_run_id": "another"}], ids=["the same run", "another run"])
def test_a_pause_that_is_answered_is_over_and_its_answers_count(runs):
    answers = {"c1": "granted", "c2": "denied", "c3": "expired", "c4": "answered", "c5": "granted"}
    state = slice_of(TABLE, paused(*answers), resumed(answers, **runs))
    assert state["paused"] is None
    assert counts(state) == {"granted": 2, "denied": 1, "expired": 1}


def test_an_answer_to_another_runs_pause_counts_there():
    assert counts(slice_of(TABLE, resumed({"c1": "granted"}, paused_run_id="another"))) == {}


def test_a_request_that_the_answer_to_a_pause_names_waits_no_more():
    state = slice_of(TABLE, requested("c1"), requested("c2"), paused("c1"), resumed({"c1": "denied"}))
    assert counts(state) == {"waiting": 1, "requested": 2, "denied": 1}


def test_a_run_that_is_not_paused_says_so():
    assert slice_of(TABLE, run_started(), requested())["paused"] is None


def test_any_cut_into_batches_gives_the_same():
    log = [
        run_started(),
        paused("c1"),
        model_started(),
        requested(),
        requested("c2"),
        requested(),
        granted(),
        granted(),
        denied("c2"),
        requested("c3"),
        paused("c3"),
        resumed({"c3": "granted"}),
    ]
    assert_any_cut_gives_the_same(TABLE, *log)


def test_requests_beyond_the_cap_wait_without_a_name():
    names = [f"c{n}" for n in range(PENDING + 2)]
    log = [requested(name) for name in names]
    state = slice_of(TABLE, *log)
    assert (len(state["pending"]), state["unnamed"], state["waiting"]) == (PENDING, 2, PENDING + 2)
    answered = slice_of(TABLE, *log, *map(granted, names), granted("c0"))
    assert counts(answered) == {"requested": PENDING + 2, "granted": PENDING + 2, "unmatched": 1}
    assert answered["unnamed"] == 0


@pytest.mark.parametrize("call_id", ["", "x" * (CALL_ID + 1)])
def test_a_call_id_that_cannot_be_a_key_waits_without_a_name(call_id):
    state = slice_of(TABLE, requested(call_id), granted(call_id))
    assert (state["pending"], counts(state)) == ({}, {"requested": 1, "granted": 1})


def test_the_largest_slice_is_far_below_the_cap():
    names = [f"{n:02}" + "\U0001f916" * (CALL_ID - 2) for n in range(PENDING)]
    state = slice_of(TABLE, *(requested(name, tool_name="é" * 999, reason="é" * 999) for name in names))
    assert len(encode(state)) < EXTENSION_BYTES * 2 / 3


def test_an_event_that_cannot_be_read_parks_the_slice_and_not_the_run():
    odd = raw_commit(2, 1, b'[{"type":"approvals.Granted","timestamp":"2026-01-31T12:00:01Z"}]')
    state = folded([*commits_of(requested()), odd], TABLE)
    piece = state.extensions["approvals"]
    assert (state.sequence, piece.sequence, piece.parked.sequence) == (2, 1, 2)


def test_unknown_fields_are_ignored():
    odd = {"type": "approvals.Requested", "timestamp": at(2), "call_id": "c1", "urgency": {"high": True}}
    assert counts(slice_of(TABLE, odd)) == {"waiting": 1, "requested": 1}


def test_a_persons_decisions_count_once_however_the_agent_goes_on():
    anna, ben = ({"by": name} for name in ("anna", "ben"))
    log = [paused("c1", "c2"), resumed({"c1": "granted"}, **anna)]
    state = slice_of(TABLE, *log)
    assert (state["paused"]["pending"], counts(state)) == (["c2"], {"granted": 1})
    log += [resumed({"c2": "denied"}, **ben), run_started(5), resumed({"c1": "granted", "c2": "denied"})]
    state = slice_of(TABLE, *log)
    assert (state["paused"], counts(state), state["last_answer_by"]) == (None, {"granted": 1, "denied": 1}, "ben")
    again = slice_of(TABLE, *log, paused("c1"), resumed({"c1": "granted"}))
    assert counts(again) == {"granted": 2, "denied": 1}
    assert_any_cut_gives_the_same(TABLE, *log)
