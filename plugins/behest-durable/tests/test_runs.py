"""An execution is one run, whatever number of invocations it takes."""

from aws_durable_execution_sdk_python.config import Duration
from behest_durable import recorded
from durable_processes import Reaper, mortal

from behest_core.recording.adapter import id_of
from behest_core.testing.recorded import all_recorded, the_recorded


def waiting(event, context):
    one = context.step(lambda step: 1, name="one")
    context.wait(Duration.from_seconds(60), name="a minute")
    two = context.step(lambda step: 2, name="two")
    return one + two


def test_an_execution_that_waits_is_one_run_with_each_step_once(stack, service, record):
    result = service.run(record(waiting))
    run = the_recorded(stack.store)
    assert result.result == "3"
    assert run.types == [
        "RunStarted",
        *["agent.StepStarted", "agent.StepFinished"] * 3,
        "RunCompleted",
    ]
    assert [each["name"] for each in run.of("agent.StepStarted")] == ["one", "a minute", "two"]
    assert run.state.status == "Completed"


def test_the_run_has_an_id_that_comes_from_the_executions(stack, service, record):
    execution = service.start(record(waiting))
    execution.result()
    run = the_recorded(stack.store)
    assert run.record.run_id == id_of(execution.arn)
    assert run.record.metadata["framework"] == "lambda-durable"
    assert run.record.metadata["framework_run_id"] == execution.arn


def test_its_record_says_what_is_known_of_the_agent(stack, service, record):
    function = record(
        lambda event, context: None,
        agent_name="refunds",
        tags=["night"],
        session_id=lambda event: event["thread"],
        user_id=lambda event: event["user"],
        metadata={"team": "money"},
    )
    service.run(function, '{"thread": "t-1", "user": "u-1"}')
    run = the_recorded(stack.store)
    assert run.record.session_id == "t-1"
    assert run.record.provider == "stub"
    assert run.record.metadata.items() >= {"agent_name": "refunds", "user_id": "u-1", "team": "money"}.items()
    assert run.record.metadata["tags"] == ["night"]


def test_an_execution_without_a_session_is_one(stack, service, record):
    execution = service.start(record(lambda event, context: None))
    execution.result()
    assert the_recorded(stack.store).record.session_id == id_of(execution.arn)


def test_each_invocation_may_be_another_process(stack, service):
    reaper = Reaper()

    def make(store, process):
        return recorded(store, provider="stub", model="stub-1")(waiting)

    service.run(mortal(stack, reaper, make))
    assert the_recorded(stack.store).types.count("agent.StepStarted") == 3


def test_each_execution_is_a_run_of_its_own(stack, service, record):
    function = record(waiting)
    service.run(function)
    service.run(function)
    assert [run.state.status for run in all_recorded(stack.store)] == ["Completed", "Completed"]


def test_one_that_another_invokes_is_a_run_of_its_own(stack, service, record):
    child = record(lambda event, context: context.step(lambda step: event["n"] + 1, name="add"))
    parent = record(lambda event, context: context.invoke("child", {"n": 1}, name="the child"))
    result = service.run(parent, others={"child": child})
    assert result.result == "2"
    kinds = [[each["kind"] for each in run.of("agent.StepStarted")] for run in all_recorded(stack.store)]
    assert sorted(kinds) == [["invoke"], ["step"]]
