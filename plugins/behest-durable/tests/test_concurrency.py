"""What happens at the same time: branches of one execution, and executions."""

from aws_durable_execution_sdk_python.config import Duration
from durable_models import ask

from behest_core.testing.recorded import all_recorded, the_recorded


def test_calls_of_branches_are_each_under_their_own_step(stack, service, record):
    def branch(number):
        return lambda context: context.step(
            lambda step: ask(messages=[{"role": "user", "content": str(number)}]), name=f"ask {number}"
        )

    service.run(record(lambda event, context: context.parallel([branch(n) for n in range(5)], name="all") and None))
    run = the_recorded(stack.store)
    names = {each["step_id"]: each["name"] for each in run.of("agent.StepStarted")}
    asked = {names[each["step_id"]]: each["messages"][0]["content"] for each in run.of("agent.ModelRequested")}
    assert asked == {f"ask {n}": str(n) for n in range(5)}
    assert sorted(each["iteration"] for each in run.of("ModelStarted")) == [1, 2, 3, 4, 5]
    assert len(run.of("agent.ModelFinished")) == 5


def test_executions_at_the_same_time_are_not_mixed(stack, service, record):
    def handler(event, context):
        context.step(ask, name=event["name"])
        context.wait(Duration.from_seconds(60))
        context.step(ask, name=event["name"])

    function = record(handler, session_id=lambda event: event["name"])
    executions = [service.start(function, f'{{"name": "e-{n}"}}') for n in range(4)]
    for execution in executions:
        execution.result()
    for run in all_recorded(stack.store):
        names = [each["name"] for each in run.of("agent.StepStarted") if each["kind"] == "step"]
        assert names == [run.record.session_id] * 2
