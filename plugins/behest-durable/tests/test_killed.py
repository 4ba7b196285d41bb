"""An invocation is killed at each of its calls: of the service, of the table, and of what its steps call."""

from collections import Counter

import pytest
from aws_durable_execution_sdk_python.config import Duration
from behest_durable import current_step, recorded
from durable_models import tried
from durable_processes import Reaper, Service, mortal

from behest_core.recording.adapter import id_of
from behest_core.testing.recorded import recorded as recorded_of


def make(store, process):
    def ask(step):
        call = current_step().model_call(messages=[{"role": "user", "content": "How warm is it?"}])
        process.moment()
        call.text("3 degrees")
        call.usage(10, 2)
        call.finished("stop")
        process.moment()
        return "3 degrees"

    def second_time(step):
        if step.attempt == 1:
            raise ValueError("not yet")
        return step.attempt

    def handler(event, context):
        context.step(ask, name="ask")
        context.step(second_time, name="again", config=tried(2))
        context.wait(Duration.from_seconds(60), name="a minute")
        context.parallel([lambda branch: branch.step(ask, name="left"), lambda branch: 2], name="both")
        context.wait_for_callback(lambda callback_id, _: process.moment(), name="approval")
        process.moment()
        return context.step(ask, name="answer")

    return recorded(store, provider="stub", model="stub-1")(handler)


ONCE = (
    "RunStarted",
    "agent.StepStarted",
    "agent.StepFinished",
    "agent.Paused",
    "agent.Resumed",
    "RunCompleted",
)


def run(stack, service, *fatal, sleeps=False, wakes_late=False):
    """Run it to its end, struck at these moments; return the log, and how many moments there were."""
    reaper = Reaper(*fatal, sleeps=sleeps)
    execution = service.start(mortal(stack, reaper, make))
    callback_id = execution.callback("approval create callback id")
    execution.told(stack.store, "agent.Paused")
    if not wakes_late:
        reaper.morning.set()
    execution.succeed(callback_id, b'"yes"')
    assert execution.result().result == '"3 degrees"'
    reaper.wake()
    return recorded_of(stack.store, id_of(execution.arn)), reaper.moments


def told(log):
    """Return what is in the log once: how often, and of which step."""
    return Counter(
        (each["type"], each.get("step_id"), each.get("name"), each.get("error"))
        for each in log.events
        if each["type"] in ONCE
    )


def check(log, undisturbed):
    assert told(log) == told(undisturbed)
    assert log.types[0] == "RunStarted"
    assert log.types[-1] == "RunCompleted"
    assert log.types.index("agent.Paused") < log.types.index("agent.Resumed")
    begun = {each["model_call_id"]: each["step_id"] for each in log.of("ModelStarted")}
    ended = [
        each["model_call_id"] for each in log.events if each["type"] in {"agent.ModelFinished", "agent.ModelFailed"}
    ]
    assert sorted(begun) == sorted(ended)
    finished = {begun[each["model_call_id"]] for each in log.of("agent.ModelFinished")}
    assert finished == {each["step_id"] for each in undisturbed.of("agent.ModelFinished")}
    open_steps = set()
    for each in log.events:
        if each["type"] == "agent.StepStarted":
            assert each.get("parent_step_id") in {None, *open_steps}
            open_steps.add(each["step_id"])


@pytest.fixture(scope="module")
def undisturbed(tables):
    with Service() as service:
        log, moments = run(tables, service)
    assert Counter(log.types)["agent.StepStarted"] == 12
    return log, moments


SHARES = range(4)


def moments_of(share, moments, every=1):
    """Return this share of the moments, or of each so manieth of them."""
    return range(1 + share * every, moments + 1, len(SHARES) * every)


@pytest.mark.parametrize("share", SHARES)
def test_whenever_an_invocation_is_killed_the_log_has_each_thing_once(stack, service, undisturbed, share):
    expected, moments = undisturbed
    for fatal in moments_of(share, moments):
        log, _ = run(stack, service, fatal)
        check(log, expected)


@pytest.mark.parametrize("share", SHARES)
def test_when_the_next_one_is_killed_too_the_log_has_each_thing_once(stack, service, undisturbed, share):
    expected, moments = undisturbed
    for fatal in moments_of(share, moments, every=3):
        log, _ = run(stack, service, fatal, fatal + 3 + 2 * share)
        check(log, expected)


@pytest.mark.parametrize("wakes_late", [False, True])
@pytest.mark.parametrize("share", SHARES)
def test_an_invocation_that_was_given_up_and_is_still_at_work_writes_nothing_again(
    stack, service, undisturbed, share, wakes_late
):
    expected, moments = undisturbed
    for fatal in moments_of(share, moments, every=2):
        log, _ = run(stack, service, fatal, sleeps=True, wakes_late=wakes_late)
        check(log, expected)
