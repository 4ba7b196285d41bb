"""What the commands reach, and how they end: missing things by name, other processes, readers that go away, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.builders import RUN, run_record, run_started, text_delta, whole_run
from tests.cli import create_stack, done, line, refused

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


@pytest.fixture
def whole(stack):
    """Return the stack with one run, completed and folded."""
    stack.store.event_log.create(run_record(metadata={"team": "blue"}))
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    return stack


# ---------------------------------------------------------------- what isn't there


def test_a_run_that_is_not_there_is_named():
    for command in (["show"], ["show", "--at-sequence", "1"], ["events"], ["export"]):
        assert refused(*command, "nobody") == "there is no run nobody"


def test_a_run_id_that_none_can_have_is_refused():
    for command in ("show", "events", "export"):
        for run_id in ("", "x" * 256):
            assert refused(command, run_id).startswith("run_id: expected a string of 1 to 255 characters")


def test_a_missing_table_is_named():
    advice = "check its name, the region (AWS_REGION) and AWS_PROFILE"
    assert refused("events", RUN, BEHEST_EVENT_TABLE="e") == f"the event table e doesn't exist in us-east-1; {advice}"
    assert refused("runs", BEHEST_STATE_TABLE="s") == f"the state table s doesn't exist in us-east-1; {advice}"
    assert (
        refused("import", "-", stdin=line(), BEHEST_EVENT_TABLE="e")
        == f"the event table e doesn't exist in us-east-1; {advice}"
    )


def test_the_tables_of_a_stack_are_its_outputs(whole, monkeypatch):
    create_stack("mine", EventTableName=whole.event_table, StateTableName=whole.state_table)
    monkeypatch.delenv("BEHEST_EVENT_TABLE")
    monkeypatch.setenv("BEHEST_STATE_TABLE", "not-this-one")
    assert "Completed" in done("show", RUN, "--stack", "mine")


def test_a_stack_that_is_not_there_or_not_behests_is_named():
    create_stack("mine", StateTableName="s")
    assert refused("runs", "--stack", "mine") == "stack mine has no output EventTableName; is it behest's?"
    assert refused("runs", "--stack", "other") == (
        "there is no stack other in us-east-1; check the name, the region (AWS_REGION) and AWS_PROFILE"
    )


# ---------------------------------------------------------------- as a process


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "behest_core.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_commands_reach_the_tables_over_http(whole):
    with whole.serving() as environment, start(environment, "show", RUN, "--json") as showing:
        stdout, stderr = showing.communicate()
    assert (json.loads(stdout)["status"], stderr, showing.returncode) == ("Completed", "", 0)


def test_a_missing_table_is_named_with_the_endpoint_that_lacks_it(stack):
    with stack.serving() as environment:
        url = environment["AWS_ENDPOINT_URL"]
        with start(environment | {"BEHEST_STATE_TABLE": "s"}, "runs") as listing:
            _, stderr = listing.communicate()
    assert stderr.startswith(f"behest: the state table s doesn't exist at {url}; ")


def test_a_reader_that_goes_away_ends_a_command_quietly(stack):
    for number in range(3):
        stack.store.event_log.append(f"run-{number}", [text_delta(delta="x" * 100_000)] * 3)
    stack.deliver()
    with stack.serving() as environment, start(environment, "events", "run-1") as listing:
        assert listing.stdout.readline().startswith("    1  ")
        listing.stdout.close()
        listing.stdout = None
        _, stderr = listing.communicate()
    assert (listing.returncode, stderr) == (141, "")


@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_following_quietly(stack, sent, exit_code):
    stack.store.event_log.append(RUN, [run_started()])
    with stack.serving() as environment, start(environment, "events", RUN, "--follow") as following:
        assert "RunStarted" in following.stdout.readline()
        following.send_signal(sent)
        stdout, stderr = following.communicate(timeout=30)
    assert (following.returncode, stdout, stderr) == (exit_code, "", "")


def demo(*before):
    """Run the demo, with shorter pauses, after these statements."""
    code = [
        "import sys", *before, "sys.argv = ['behest', 'demo']",
        "from behest_core.cli import main", "from behest_core.demo import agent", "agent._PAUSES = (0.01,)", "main()",
    ]  # fmt: skip
    return subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False)


def test_the_demo_ends_with_every_state_right_and_asks_what_the_plugins_fold():
    shown = demo("from behest_core.demo import strands_agent", "strands_agent._PAUSE = 0.01")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "13 of 13 states equal the fold of their logs (" in shown.stdout
    assert "One more agent is real" in shown.stdout
    assert re.search(r"^strands-agent +Completed +494 tokens$", shown.stdout, re.MULTILINE)
    assert re.search(r"^write-haiku +Completed +70 tokens$", shown.stdout, re.MULTILINE)
    assert re.search(r"^  review-contract  silent since ", shown.stdout, re.MULTILINE)
    assert "anthropic claude-sonnet-4-5  34,330 in  12,288 of them cached  2,235 out" in shown.stdout
    assert "anthropic claude-sonnet-4-5  10 calls  0.1033 USD\n" in shown.stdout
    assert re.search(r"^  review-contract  sign_contract  since ", shown.stdout, re.MULTILINE)
    assert re.search(r"^  search +2 calls  1 failed  240 ms at most$", shown.stdout, re.MULTILINE)
    assert re.search(r"^  summarise-report  research-topic$", shown.stdout, re.MULTILINE)
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_without_a_real_agent_the_demo_says_how_to_get_one_and_goes_on():
    shown = demo("sys.modules['behest_strands'] = None")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "To have a real agent of Strands write as well: pip install behest-strands\n" in shown.stdout
    assert "12 of 12 states equal the fold of their logs (325 events, 139 commits)" in shown.stdout
    assert "strands-agent" not in shown.stdout
