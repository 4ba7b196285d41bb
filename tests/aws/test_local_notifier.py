"""The template's notifier in the local stack: changes of status reach the bus and plugins; and plugins in its functions."""

import json
import sys

import pytest
from botocore.client import BaseClient

from behest_core.projection.event_bus import Refusal
from behest_core.testing import LocalStack, Template
from tests.builders import RUN, custom, run_completed, run_failed, run_started, text_delta, whole_run

APPROVALS = """
    from behest_core.plugins import Event
    from behest_core.plugins import Extension, ExtensionState
    from behest_core.plugins import hookimpl


    class ApprovalRequested(Event, tag="approvals.Requested"):
        call_id: str


    class ApprovalState(ExtensionState):
        pending: int = 0


    approvals = Extension("approvals", ApprovalState, version=1)


    @approvals.on(ApprovalRequested)
    def count(state, event, run):
        state.pending += 1


    @hookimpl
    def behest_event_types():
        return [ApprovalRequested]


    @hookimpl
    def behest_extensions():
        return [approvals]
"""
REACTIONS = """
    from behest_core.plugins import hookimpl

    seen = []


    @hookimpl
    def behest_run_changed(change):
        seen.append(change.id)
"""
BROKEN = """
    from behest_core.plugins import hookimpl


    @hookimpl
    def behest_run_changed(change):
        raise RuntimeError("the patient's name")
"""


def told(stack):
    """Return the changes that were told: run, before, after."""
    details = [json.loads(entry["Detail"]) for entry in stack.notifications]
    return [(detail["run_id"], detail["before"], detail["after"]) for detail in details]


def ids(stack):
    return [json.loads(entry["Detail"])["id"] for entry in stack.notifications]


def id_of(stack, run_id=RUN):
    """Return the id of a run's latest change."""
    return f"{run_id}#{stack.store.get_state(run_id).revision}"


# ---------------------------------------------------------------- the bus


def test_each_change_of_status_is_one_event(stack):
    stack.store.create_run(run_id=RUN, provider="p", model="m")
    stack.deliver()
    stack.store.event_log.append(RUN, [run_started(), text_delta()])
    stack.deliver()
    stack.store.event_log.append(RUN, [text_delta()])
    stack.deliver()
    stack.store.event_log.append(RUN, [run_failed()])
    stack.deliver()
    assert told(stack) == [
        (RUN, None, "Pending"),
        (RUN, "Pending", "SessionLoaded"),
        (RUN, "SessionLoaded", "Failed"),
    ]
    assert len(set(ids(stack))) == 3


def test_an_event_is_as_it_is_documented(stack):
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    [entry] = stack.notifications
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("behest", "Run Status Changed", "default")


def test_a_batch_that_is_delivered_again_repeats_its_ids(stack):
    for run_id in ("run-1", "run-2"):
        stack.store.event_log.append(run_id, whole_run())
    handler = stack._notifier.mapping.handler
    cut_short = []

    def forgetful(event, context):
        handler(event, context)
        if not cut_short:
            cut_short.append(True)
            raise RuntimeError("killed after it had told all")
        return handler(event, context)

    stack._notifier.mapping.handler = forgetful
    stack.deliver()
    assert set(ids(stack)) == {id_of(stack, "run-1"), id_of(stack, "run-2")}
    assert len(ids(stack)) > 2


def test_a_run_that_is_deleted_is_not_told(stack):
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    stack.store.delete_run(RUN)
    stack.deliver()
    assert len(stack.notifications) == 1


def test_the_bus_of_the_parameter_is_told():
    with LocalStack(template=Template(parameters={"EventBusName": "agents"})) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        assert [entry["EventBusName"] for entry in stack.notifications] == ["agents"]


def test_without_notifications_nothing_is_told():
    with LocalStack(template=Template(parameters={"Notifications": "false"})) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        assert stack.notifications == []


def test_changes_are_told_in_the_background_as_well(stack):
    with stack.running():
        stack.store.event_log.append(RUN, whole_run())
    assert told(stack) == [(RUN, None, "Completed")]


def test_what_the_bus_does_not_take_in_all_its_tries_goes_to_the_notifiers_own_queue(monkeypatch):
    with LocalStack(template=Template(parameters={"MaximumRetryAttempts": 2})) as stack:
        stack.store.event_log.append(RUN, whole_run())
        refused = lambda _, entries: [Refusal("ThrottlingException") for _ in entries]  # noqa: E731
        monkeypatch.setattr("behest_core.projection.event_bus.EventBus.put", refused)
        stack.deliver()
        assert stack.notifications == []
        assert len(stack._notifier.failures) == 1
        assert stack.failures == []


# ---------------------------------------------------------------- what can't be told


def test_a_state_item_of_somebody_elses_making_is_put_aside_and_stops_nobody(stack):
    stack.dynamodb.put_item(
        TableName=stack.state_table,
        Item={"run_id": {"S": "hand-made"}, "status": {"S": "Failed"}, "secret": {"S": "x"}},
    )
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    assert told(stack) == [(RUN, None, "Completed")]
    [untold] = stack._notifier.not_told
    assert (untold["run_id"], untold["reason"], untold["change"]) == (
        "hand-made",
        "`revision` is not a whole number",
        None,
    )
    [logged] = [json.loads(line) for line in stack.output.lines if "change not told" in line]
    assert (logged["run_id"], logged["error"]) == ("hand-made", untold["reason"])
    assert stack._notifier.mapping.counts.failures == 0


@pytest.mark.parametrize(
    "providers",
    [["😀" * 30_000], ["x" * 119_000] * 3],
    ids=["30,000 characters of four bytes", "three that are too large together"],
)
def test_every_change_that_a_run_within_the_limits_makes_is_told(stack, providers):
    for number, provider in enumerate(providers):
        stack.store.event_log.append(f"run-{number}", [run_started(provider=provider), run_completed()])
    stack.deliver()
    assert sorted(json.loads(entry["Detail"])["provider"] for entry in stack.notifications) == providers
    assert stack._notifier.mapping.counts.failures == 0


def test_a_change_that_is_too_large_is_put_aside_and_stops_nobody(stack):
    large = {
        "run_id": {"S": "hand-made"},
        "status": {"S": "Failed"},
        "revision": {"N": "1"},
        "sequence": {"N": "1"},
        "provider": {"S": "x" * 300_000},
    }
    stack.dynamodb.put_item(TableName=stack.state_table, Item=large)
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    assert told(stack) == [(RUN, None, "Completed")]
    [untold] = stack._notifier.not_told
    assert (untold["run_id"], "EventBridge takes less than 262,144" in untold["reason"]) == ("hand-made", True)
    assert stack._notifier.mapping.counts.failures == 0


# ---------------------------------------------------------------- reactions


def test_a_plugin_hears_of_each_change(install):
    install(reactions=REACTIONS)
    with LocalStack(plugins=["reactions"]) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        assert sys.modules["behest_reactions"].seen == ids(stack) == [id_of(stack)]


def test_a_reaction_that_raises_goes_to_its_queue_and_stops_nobody(install):
    install(broken=BROKEN, reactions=REACTIONS)
    with LocalStack(plugins=["broken", "reactions"]) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        [failed] = stack.failed_reactions
        assert (failed["plugin"], failed["error"], failed["change"]["id"]) == ("broken", "RuntimeError", id_of(stack))
        assert sys.modules["behest_reactions"].seen == ids(stack) == [id_of(stack)]
        assert stack._notifier.failures == []
        assert "patient" not in "".join(stack.output.lines)


# ---------------------------------------------------------------- extensions


def test_a_plugin_folds_its_slice_through_the_deployed_handler(install):
    install(approvals=APPROVALS)
    with LocalStack(plugins=["approvals"]) as stack:
        stack.store.event_log.append(RUN, [run_started(), custom(), custom()])
        stack.deliver()
        stack.store.event_log.append(RUN, [custom(), run_completed()])
        stack.deliver()
        assert stack.store.get_state(RUN).extensions["approvals"].state == {"pending": 3}


def test_a_plugin_that_is_not_allowed_is_not_used(install):
    install(approvals=APPROVALS)
    with LocalStack() as stack:
        stack.store.event_log.append(RUN, [run_started(), custom()])
        stack.deliver()
        assert stack.store.get_state(RUN).extensions == {}


def test_the_reconciler_folds_with_plugins_as_well(install):
    install(approvals=APPROVALS)
    template = Template(parameters={"MaximumRetryAttempts": 0})
    with LocalStack(template=template, plugins=["approvals"]) as stack:
        stack.store.event_log.append(RUN, [run_started(), custom()])
        stack.mapping.handler = lambda *_: 1 / 0
        stack.deliver()
        stack.recover()
        assert stack.store.get_state(RUN).extensions["approvals"].state == {"pending": 1}


def test_a_plugin_that_is_allowed_and_not_installed_is_counted_and_stops_nobody():
    with LocalStack(plugins=["missing"]) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        assert told(stack) == [(RUN, None, "Completed")]
        counted = [json.loads(line) for line in stack.output.lines if '"PluginsRefused"' in line]
        assert [line["service"] for line in counted] == ["behest", "behest"]


# ---------------------------------------------------------------- its role


def test_what_it_does_is_what_its_role_allows(monkeypatch, install):
    install(broken=BROKEN)
    done = set()
    call = BaseClient._make_api_call

    def note(self, operation, params):
        done.add(f"{self.meta.service_model.signing_name}:{operation}")
        return call(self, operation, params)

    with LocalStack(plugins=["broken"]) as stack:
        stack.store.event_log.append(RUN, whole_run())
        stack.dynamodb.put_item(TableName=stack.state_table, Item={"run_id": {"S": "r"}, "status": {"N": "1"}})
        stack.mapping.drain()
        monkeypatch.setattr(BaseClient, "_make_api_call", note)
        stack._notifier.mapping.drain()
    streams = {f"dynamodb:{name}" for name in ("GetRecords", "GetShardIterator", "DescribeStream", "ListStreams")}
    assert done - streams == {"events:PutEvents", "sqs:SendMessage"}
