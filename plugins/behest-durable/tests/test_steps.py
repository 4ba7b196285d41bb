"""Operations are steps: of which kind, in which, how often, and how they end."""

from aws_durable_execution_sdk_python.config import CompletionConfig, Duration, NestingType, ParallelConfig, StepConfig
from aws_durable_execution_sdk_python.exceptions import StepError
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision
from durable_models import tried

from behest_core.testing.recorded import the_recorded


def steps(run):
    """Return the steps by name: their kind, and the name of the one around."""
    started = run.of("agent.StepStarted")
    names = {each["step_id"]: each["name"] for each in started}
    assert len(names) == len(started)
    assert sorted(names) == sorted(each["step_id"] for each in run.of("agent.StepFinished"))
    return [(each["name"], each["kind"], names.get(each.get("parent_step_id"))) for each in started]


def test_operations_are_in_the_context_around_them(stack, service, record):
    def inner(context):
        context.step(lambda step: 1, name="one")
        context.wait(Duration.from_seconds(5), name="a moment")

    service.run(record(lambda event, context: context.run_in_child_context(inner, name="inner")))
    assert steps(the_recorded(stack.store)) == [
        ("inner", "context", None),
        ("one", "step", "inner"),
        ("a moment", "wait", "inner"),
    ]


def test_the_branches_of_a_parallel_and_the_iterations_of_a_map(stack, service, record):
    def branch(context):
        context.wait(Duration.from_seconds(5), name="a moment")
        return 1

    def handler(event, context):
        context.parallel([branch, branch], name="both")
        context.map(
            [1, 2], lambda context, item, index, items: context.step(lambda step: item, name="item"), name="all"
        )

    service.run(record(handler))
    found = steps(the_recorded(stack.store))
    assert sorted(kind for _, kind, _ in found) == sorted(
        ["parallel", *["branch", "wait"] * 2, "map", *["iteration", "step"] * 2]
    )
    assert {around for _, kind, around in found if kind == "branch"} == {"both"}
    assert {around for _, kind, around in found if kind == "iteration"} == {"all"}


def test_the_steps_of_branches_that_are_not_checkpointed_are_in_the_parallel(stack, service, record):
    def branch(context):
        context.step(lambda step: 1, name="one")
        context.wait(Duration.from_seconds(5), name="a moment")

    flat = ParallelConfig(nesting_type=NestingType.FLAT)
    service.run(record(lambda event, context: context.parallel([branch], name="both", config=flat) and None))
    assert steps(the_recorded(stack.store)) == [
        ("both", "parallel", None),
        ("one", "step", "both"),
        ("a moment", "wait", "both"),
    ]


def test_a_branch_that_is_left_behind_ends_with_the_run(stack, service, record):
    def slow(context):
        context.wait(Duration.from_seconds(5000), name="long")

    first = ParallelConfig(completion_config=CompletionConfig.first_successful())
    service.run(
        record(lambda event, context: context.parallel([lambda context: 1, slow], name="race", config=first) and None)
    )
    run = the_recorded(stack.store)
    assert ("long", "wait") in {each[:2] for each in steps(run)}
    assert "the run ended before the step did" in {each.get("error") for each in run.of("agent.StepFinished")}


def test_each_attempt_is_a_step_and_says_what_it_failed_by(stack, service, record):
    def third_time(step):
        if step.attempt < 3:
            raise ValueError(f"not at attempt {step.attempt}")
        return step.attempt

    result = service.run(record(lambda event, context: context.step(third_time, name="try", config=tried(3))))
    run = the_recorded(stack.store)
    first, second, third = [each["step_id"] for each in run.of("agent.StepStarted")]
    assert result.result == "3"
    assert (second, third) == (f"{first}/2", f"{first}/3")
    assert [(each["step_id"], each.get("error")) for each in run.of("agent.StepFinished")] == [
        (first, "ValueError: not at attempt 1"),
        (second, "ValueError: not at attempt 2"),
        (third, None),
    ]


def test_a_step_that_is_not_tried_again_fails_once_and_the_handler_may_go_on(stack, service, record):
    def handler(event, context):
        try:
            context.step(lambda step: 1 / 0, name="divide", config=tried(1))
        except StepError:
            context.wait(Duration.from_seconds(5), name="a moment")
        return "all the same"

    result = service.run(record(handler))
    run = the_recorded(stack.store)
    assert result.result == '"all the same"'
    assert run.of("agent.StepFinished")[0]["error"] == "ZeroDivisionError: division by zero"
    assert run.types[-1] == "RunCompleted"


def test_each_look_at_a_condition_is_a_step_and_no_failure(stack, service, record):
    def until_two(state, attempt):
        if state >= 2:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration.from_seconds(5))

    def handler(event, context):
        config = WaitForConditionConfig(initial_state=0, wait_strategy=until_two)
        return context.wait_for_condition(lambda state, check: state + 1, config, name="ready")

    result = service.run(record(handler))
    run = the_recorded(stack.store)
    assert result.result == "2"
    assert steps(run) == [("ready", "condition", None), ("ready", "condition", None)]
    assert [each.get("error") for each in run.of("agent.StepFinished")] == [None, None]


def test_a_label_of_the_users_own_does_not_change_the_kind(stack, service, record):
    config = StepConfig(sub_type="Tool")
    service.run(record(lambda event, context: context.step(lambda step: 1, name="one", config=config)))
    assert steps(the_recorded(stack.store)) == [("one", "step", None)]
