"""Agents that adapters record, in a step: children of the execution's run, once."""

from aws_durable_execution_sdk_python.config import Duration
from behest_durable import recorded
from durable_models import tried
from durable_processes import Reaper, mortal

from behest_core.recording.adapter import begin
from behest_core.testing.recorded import all_recorded
from behest_core.testing.recorded import recorded as recorded_of


def agent(store, framework_run_id=None, **more):
    """Do what an adapter does when its agent is invoked."""
    run = begin(store, "stub", framework_run_id, provider="stub", model="stub-1", agent_name="weather", **more)
    run.completed()
    run.close()
    return run.run_id


def runs_of(store):
    """Return the execution's run, and those of its agents."""
    runs = all_recorded(store)
    (execution,) = [run for run in runs if run.record.metadata["framework"] == "lambda-durable"]
    return execution, [run for run in runs if run is not execution]


def test_an_agent_in_a_step_is_a_child_of_the_executions_run(stack, service, record):
    def handler(event, context):
        context.step(lambda step: agent(stack.store), name="ask")
        context.wait(Duration.from_seconds(60))
        context.step(lambda step: agent(stack.store), name="again")

    service.run(record(handler, session_id="s-1"))
    execution, children = runs_of(stack.store)
    steps = [each["step_id"] for each in execution.of("agent.StepStarted") if each["kind"] == "step"]
    assert [run.types for run in children] == [["RunStarted", "RunCompleted"]] * 2
    for run, step_id in zip(children, steps, strict=True):
        assert run.record.session_id == "s-1"
        assert run.record.metadata["parent_run_id"] == execution.record.run_id
        assert run.record.metadata["root_run_id"] == execution.record.run_id
        assert run.record.metadata["parent_step_id"] == step_id


def test_several_agents_of_a_step_are_runs_of_their_own(stack, service, record):
    service.run(record(lambda event, context: context.step(lambda step: agent(stack.store) and agent(stack.store))))
    assert len(runs_of(stack.store)[1]) == 2


def test_an_agent_whose_framework_has_an_id_keeps_it(stack, service, record):
    service.run(record(lambda event, context: context.step(lambda step: agent(stack.store, "its-own"))))
    assert [run.record.run_id for run in runs_of(stack.store)[1]] == ["its-own"]


def test_the_agent_of_another_attempt_is_another_run(stack, service, record):
    def second_time(step):
        agent(stack.store)
        if step.attempt == 1:
            raise ValueError("not yet")

    service.run(record(lambda event, context: context.step(second_time, name="ask", config=tried(2))))
    assert len(runs_of(stack.store)[1]) == 2


def test_an_attempt_that_a_crash_ended_goes_on_in_the_same_run(stack, service):
    def make(store, process):
        def ask(step):
            run = begin(stack.store, "stub", provider="stub", model="stub-1")
            run.flush()
            try:
                process.moment()
                run.completed()
            finally:
                run.close()  # what a process that ends does, too

        return recorded(store, provider="stub", model="stub-1")(lambda event, context: context.step(ask, name="ask"))

    class AtTheFirstChild(Reaper):
        def strikes(self):
            children = [each for each in stack.store.event_log.run_ids() if "/" in each and "stub" in each]
            if self.moments == 0 and children:
                self.moments = 1
                return True
            return False

    service.run(mortal(stack, AtTheFirstChild(), make))
    (child,) = runs_of(stack.store)[1]
    assert child.types == ["RunStarted", "RunStarted", "RunCompleted"]
    assert recorded_of(stack.store, child.record.run_id).state.status == "Completed"


def test_code_outside_of_steps_is_nobodys_child(stack, service, record):
    service.run(record(lambda event, context: agent(stack.store) and None))
    assert "parent_run_id" not in runs_of(stack.store)[1][0].record.metadata
