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
        stack.store.append(RUN, whole_run())
        stack.deliver()
        yield stack


def behest(*arguments, **env):
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_commits_that_are_gone_are_brought_back_from_a_table_that_was_restored(stack, tmp_path):
    stack.dynamodb.restore_table_to_point_in_time(
        SourceTableName=stack.event_table, TargetTableName=RESTORED, UseLatestRestorableTime=True
    )
    key = {"run_id": {"S": RUN}, "sequence": {"N": "1"}}
    stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    lines = tmp_path / "runs.jsonl"
    lines.write_text(behest("export", BEHEST_EVENT_TABLE=RESTORED))
    behest("import", "--skip-invalid", str(lines))
    behest("rebuild", "--yes")
    assert len(list(stack.store.events(RUN))) == len(whole_run())
    assert "1 right" in behest("verify")
