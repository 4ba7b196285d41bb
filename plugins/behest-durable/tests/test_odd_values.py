"""Names, errors and answers that no log can hold as they are."""

from aws_durable_execution_sdk_python.exceptions import StepError
from durable_models import tried

from behest_core.testing.recorded import the_recorded


def test_an_error_of_a_megabyte_is_cut(stack, service, record):
    def handler(event, context):
        try:
            context.step(lambda step: int("x" * 1_000_000), name="count", config=tried(1))
        except StepError:
            return "all the same"

    result = service.run(record(handler))
    run = the_recorded(stack.store)
    assert result.result == '"all the same"'
    assert len(run.of("agent.StepFinished")[0]["error"]) < 400_000
    assert run.types[-1] == "RunCompleted"


def test_an_error_with_half_a_character_is_told_as_near_as_can_be(stack, service, record):
    def handler(event, context):
        raise ValueError("half \ud83d")

    service.run(record(handler))
    assert the_recorded(stack.store).of("RunFailed")[0]["error"].startswith("ValueError: half ")


def test_a_step_without_a_name_has_that_of_its_kind(stack, service, record):
    service.run(record(lambda event, context: context.step(lambda step: 1)))
    assert the_recorded(stack.store).of("agent.StepStarted")[0]["name"] == "step"
