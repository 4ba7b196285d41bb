"""Executions that fail."""

from durable_models import tried

from behest_core.testing.recorded import the_recorded


def test_a_handler_that_raises_is_a_run_that_failed(stack, service, record):
    def handler(event, context):
        raise LookupError("no such customer")

    result = service.run(record(handler))
    run = the_recorded(stack.store)
    assert result.status.value == "FAILED"
    assert run.types == ["RunStarted", "RunFailed"]
    assert run.of("RunFailed")[0]["error"] == "LookupError: no such customer"


def test_a_step_that_fails_to_the_last_attempt_fails_the_run(stack, service, record):
    service.run(record(lambda event, context: context.step(lambda step: 1 / 0, name="divide", config=tried(2))))
    run = the_recorded(stack.store)
    assert [each["error"] for each in run.of("agent.StepFinished")] == ["ZeroDivisionError: division by zero"] * 2
    assert "division by zero" in run.of("RunFailed")[0]["error"]
    assert run.state.status == "Failed"


def test_a_context_that_fails_says_so_of_itself(stack, service, record):
    def inner(context):
        raise ValueError("broken")

    service.run(record(lambda event, context: context.run_in_child_context(inner, name="inner")))
    run = the_recorded(stack.store)
    assert run.of("agent.StepFinished")[0]["error"] == "ValueError: broken"
    assert run.types[-1] == "RunFailed"
