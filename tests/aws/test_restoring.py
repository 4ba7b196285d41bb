"""What docs/operations.md says to do with a table that was restored."""

import pytest
from typer.testing import CliRunner

from behest_core.cli.app import app
from behest_core.testing import LocalStack
from tests.builders import whole_run

RUN = "run-1"
RESTORED = "restored-events"


@pytest.fixture
def stack():
    with LocalStack() as stack:
        stack.store.create_run(run_id=RUN, provider="openai", model="gpt-4o")
        stack.store.event_log.append(RUN, whole_run())
        stack.deliver()
        yield stack


def behest(*arguments, exit_code=0, **env):
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == exit_code, result.output
    return result.stdout if exit_code == 0 else result.stderr


def test_commits_that_are_gone_are_brought_back_from_a_table_that_was_restored(stack, tmp_path):
    stack.dynamodb.restore_table_to_point_in_time(
        SourceTableName=stack.event_table, TargetTableName=RESTORED, UseLatestRestorableTime=True
    )
    key = {"run_id": {"S": RUN}, "sequence": {"N": "1"}}
    stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    lines = tmp_path / "runs.jsonl"
    lines.write_text(behest("export", BEHEST_EVENT_TABLE=RESTORED))
    behest("import", "--skip-invalid", str(lines))
    said = behest("rebuild", "--yes", exit_code=1)
    assert said.endswith(f"to take what the log has: behest rebuild --diverged {RUN}\n")
    behest("rebuild", "--diverged", RUN)
    assert len(list(stack.store.events(RUN))) == len(whole_run())
    assert "1 right" in behest("verify")


def restored(stack):
    """Return what puts the event table back to what it is now."""
    now = stack.dynamodb.scan(TableName=stack.event_table)["Items"]

    def restore():
        for item in stack.dynamodb.scan(TableName=stack.event_table)["Items"]:
            key = {name: item[name] for name in ("run_id", "sequence")}
            stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
        for item in now:
            stack.dynamodb.put_item(TableName=stack.event_table, Item=item)

    return restore


def test_a_run_that_was_deleted_since_is_named_and_deleted_once_more(stack):
    restore = restored(stack)
    stack.store.delete_run(RUN)
    restore()
    stack.deliver()
    behest("rebuild", "--yes")
    assert "delete it again" in CliRunner().invoke(app, ["verify"]).stdout
    assert stack.store.state_table.get(RUN).deleted_at
    behest("delete", RUN, "--yes")
    assert "1 right" in behest("verify")
    assert list(stack.store.event_log.commits(RUN)) == []


def test_of_a_run_that_was_begun_since_only_the_state_is_left(stack):
    restore = restored(stack)
    stack.store.event_log.append("run-2", whole_run())
    stack.deliver()
    state = stack.store.get_state("run-2")
    restore()
    behest("rebuild", "--yes", exit_code=1)
    assert "run-2  its log no longer holds all" in CliRunner().invoke(app, ["verify"]).stdout
    assert stack.store.get_state("run-2") == state
    behest("delete", "run-2", "--yes")
    assert "2 right" in behest("verify")
