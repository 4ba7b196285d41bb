"""What models were sent: told by what is new, and read back whole."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from behest_core.model import conversation
from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests, Told
from behest_core.model.decoding import core_decoder, encode_event
from tests.builders import at


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def told(told_before, call, messages, **what):
    return list(told_before.events(call, "openai", messages, timestamp=at(1), **what))


def read_back(events):
    """Read requests as a reader of the log does: from JSON."""
    requests = Requests()
    for event in events:
        requests.add(core_decoder.decode_one(encode_event(event)))
    return requests.by_call


def test_the_first_request_is_told_in_full():
    [event] = told(Told(), "c1", [user("Hi")], parameters={"temperature": 0})
    assert msgspec.to_builtins(event) == {
        "type": "agent.ModelRequested",
        "timestamp": at(1),
        "model_call_id": "c1",
        "message_format": "openai",
        "message_count": 1,
        "kept": 0,
        "messages": [user("Hi")],
        "parameters": {"temperature": 0},
    }


def test_of_a_conversation_that_grows_only_what_is_new_is_told():
    so_far = Told()
    first, second = [user("Hi")], [user("Hi"), assistant("Hello"), user("How warm is it?")]
    events = [*told(so_far, "c1", first), *told(so_far, "c2", second)]
    assert (events[1].follows, events[1].kept, events[1].messages) == ("c1", 1, second[1:])
    assert [each.messages for each in read_back(events).values()] == [first, second]


def test_conversations_that_take_turns_are_kept_apart():
    so_far = Told()
    events = []
    for turn in range(3):
        for agent in ("a", "b"):
            messages = [user(f"I am {agent}"), *(assistant(f"{agent}{n}") for n in range(turn))]
            events += told(so_far, f"{agent}{turn}", messages)
    assert [event.follows for event in events[2:]] == ["a0", "b0", "a1", "b1"]
    assert all(len(event.messages) == 1 for event in events)


def test_what_an_agent_took_back_is_not_in_the_request():
    so_far = Told()
    events = told(so_far, "c1", [user("Hi"), assistant("wrong"), user("no")])
    events += told(so_far, "c2", [user("Hi"), assistant("right")])
    assert (events[1].follows, events[1].kept) == ("c1", 1)
    assert read_back(events)["c2"].messages == [user("Hi"), assistant("right")]


def test_instructions_and_tools_are_told_once_and_known_by_their_hash_afterwards():
    so_far = Told()
    what = {"system_instructions": "Be brief.", "tool_definitions": [{"name": "weather"}]}
    events = [*told(so_far, "c1", [user("Hi")], **what), *told(so_far, "c2", [user("Hi"), user("there")], **what)]
    assert (events[1].system_instructions, events[1].tool_definitions) == (msgspec.UNSET, msgspec.UNSET)
    for request in read_back(events).values():
        assert (request.system_instructions, request.tool_definitions) == ("Be brief.", [{"name": "weather"}])
        assert request.is_whole


def test_other_instructions_are_told_again():
    so_far = Told()
    events = [
        *told(so_far, "c1", [], system_instructions="A"),
        *told(so_far, "c2", [], system_instructions="B"),
        *told(so_far, "c3", [], system_instructions="A"),
    ]
    assert [each.system_instructions for each in read_back(events).values()] == ["A", "B", "A"]


def test_a_request_that_is_too_large_for_one_event_goes_on_in_another(monkeypatch):
    monkeypatch.setattr(conversation, "_EVENT_BYTES", 100)
    messages = [user("x" * 60) for _ in range(5)]
    events = told(Told(), "c1", messages, system_instructions="Be brief.")
    assert [(event.kept, event.follows) for event in events[1:]] == [(n, "c1") for n in range(1, 5)]
    assert sum(event.system_instructions is not msgspec.UNSET for event in events) == 1
    [request] = read_back(events).values()
    assert (request.messages, request.system_instructions, request.is_whole) == (messages, "Be brief.", True)


def test_a_request_whose_beginning_the_log_lacks_says_so():
    so_far = Told()
    told(so_far, "c1", [user("Hi")], system_instructions="Be brief.")
    lost_before = told(so_far, "c2", [user("Hi"), user("there")], system_instructions="Be brief.")
    request = read_back(lost_before)["c2"]
    assert (request.messages, request.system_instructions, request.is_whole) == ([user("there")], None, False)


def test_what_was_not_recorded_is_not_whole():
    event = ModelRequested(model_call_id="c", message_format="openai", message_count=2, timestamp=at(1))
    assert not Requests().add(event).is_whole


def test_what_is_remembered_of_long_conversations_is_bounded(monkeypatch):
    monkeypatch.setattr(conversation, "_MESSAGES", 10)
    so_far = Told()
    for n in range(20):
        told(so_far, f"c{n}", [user(str(n)), *(assistant("x") for _ in range(6))])
    [event] = told(so_far, "again", [user("0")])
    assert event.follows is msgspec.UNSET
    [event] = told(so_far, "last", [user("19"), assistant("x")])
    assert event.follows == "c19"


_messages = st.lists(
    st.sampled_from([user("a"), user("b"), assistant("a"), {"parts": [1, None, {"é": 0.5}]}]), max_size=6
)
_values = st.sampled_from([None, "Be brief.", [{"name": "weather"}], {"b": 1, "a": 2}])


@given(st.lists(st.tuples(_messages, _values, _values), max_size=24))
def test_whatever_is_told_is_read_back_as_json_to_the_byte(requests):
    so_far, events = Told(), []
    for number, (messages, system, tools) in enumerate(requests):
        events += told(so_far, f"c{number}", messages, system_instructions=system, tool_definitions=tools)
    read = list(read_back(events).values())
    assert all(each.is_whole for each in read)
    found = [(each.messages, each.system_instructions, each.tool_definitions) for each in read]
    assert json.dumps(found) == json.dumps(requests)
