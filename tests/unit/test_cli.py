"""The command without tables: fold, what is given on the command line, and how commands fail."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from botocore import exceptions as aws

from behest_core import RunStore
from behest_core.cli.arguments import parse_status, parse_time
from behest_core.cli.aws import explain
from behest_core.cli.commands.list_events import follow_events
from behest_core.demo.scripts import SCRIPTS, Ending
from behest_core.errors import ConfigurationError
from behest_core.model.decoding import encode_event
from behest_core.model.packing import RecordedEvent
from behest_core.model.state import RunStatus
from behest_core.terminal import clean, second_text, time_text
from tests.builders import RUN, at, run_completed, run_record, run_started, text_delta, whole_run
from tests.cli import behest, line
from tests.golden import SEED_FOLD, golden_lines, golden_runs, same_state


def python(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- the command itself


def test_the_command_says_its_version():
    assert re.fullmatch(r"behest \d+\.\d+\.\d+\n", behest("--version").stdout)


@pytest.mark.parametrize("command", ["demo", "runs", "show", "events", "fold", "import", "export"])
def test_every_command_has_a_help_page(command):
    result = behest(command, "--help")
    assert result.exit_code == 0
    assert f"behest {command}" in result.stdout


def test_a_command_that_is_not_there_is_a_mistake_in_usage():
    assert behest("frobnicate").exit_code == 2


def test_without_the_extra_one_line_says_what_to_install():
    done = python("import sys", "sys.modules['typer'] = None", "from behest_core.cli import main", "main()")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "behest: the command needs typer and rich; run: pip install 'behest-core[cli]'\n"


def test_without_its_extra_the_demo_says_what_to_install():
    done = python(
        "import sys", "sys.modules['moto'] = None", "sys.argv = ['behest', 'demo']",
        "from behest_core.cli import main", "main()",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "behest: the demo needs moto; run: pip install 'behest-core[cli,testing]'\n"


def test_fold_and_help_load_no_aws_sdk():
    done = python("import sys", "from behest_core.cli.app import app", "sys.exit('boto3' in sys.modules)")
    assert done.returncode == 0


# ---------------------------------------------------------------- fold


def test_fold_gives_the_golden_states_line_by_line():
    result = behest("fold", str(SEED_FOLD))
    states = [json.loads(state) for state in result.stdout.splitlines()]
    assert (result.exit_code, len(states)) == (0, 400)
    assert all(same_state(run["state"], state) for run, state in zip(golden_runs(SEED_FOLD), states, strict=True))


def test_fold_reads_standard_input():
    result = behest("fold", "-", stdin=line(*whole_run()))
    assert json.loads(result.stdout)["status"] == "Completed"


def test_fold_answers_each_line_as_it_comes():
    command = [sys.executable, "-m", "behest_core.cli", "fold", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as folding:
        for number in range(3):
            folding.stdin.write(line(*whole_run(), run_id=f"run-{number}"))
            folding.stdin.flush()
            assert json.loads(folding.stdout.readline())["run_id"] == f"run-{number}"
        folding.stdin.close()
        assert folding.wait() == 0


def test_fold_stops_at_a_malformed_line_with_the_lines_before_it_done():
    result = behest("fold", "-", stdin=line(*whole_run()) + b"\n{}\n" + line())
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 1)
    assert result.stderr == "behest: standard input:3: record: expected, but missing\n"


def test_fold_names_the_file_in_its_messages(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b"nonsense\n")
    result = behest("fold", str(file))
    assert result.stderr == f"behest: {file}:1: line: JSON is malformed: invalid character (byte 4)\n"


def test_fold_refuses_a_line_that_parks():
    tokens = {"input_tokens": 2**64 - 1, "output_tokens": 1}
    parks = line(run_started(), {"type": "UsageRecorded", "usage": tokens, "timestamp": at(2)})
    result = behest("fold", "-", stdin=parks)
    assert result.exit_code == 1
    assert result.stderr == (
        "behest: standard input:1: events[1].event.UsageRecorded: total_usage does not fit 64 bits\n"
    )


def test_fold_goes_on_past_malformed_lines_and_counts_them_when_asked():
    result = behest("fold", "-", "--skip-invalid", stdin=b"{}\n" + line(*whole_run()) + b"[]\n")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert result.stderr.splitlines() == [
        "behest: skipped: standard input:1: record: expected, but missing",
        "behest: skipped: standard input:3: line: expected `object`, got `array`",
        "behest: 2 lines skipped",
    ]


def test_fold_says_which_file_it_cannot_read(tmp_path):
    assert behest("fold", str(tmp_path / "no")).stderr == f"behest: {tmp_path / 'no'}: No such file or directory\n"
    assert behest("fold", str(tmp_path)).stderr == f"behest: {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-9], lambda packed: packed[:30] + b"?" * 90])
def test_fold_says_where_a_gzip_file_is_broken(tmp_path, spoil):
    file = tmp_path / "runs.jsonl.gz"
    file.write_bytes(spoil(gzip.compress(b"".join(line(*whole_run(), run_id=str(n)) for n in range(50)))))
    result = behest("fold", str(file))
    assert result.exit_code == 1
    assert re.search(rf"^behest: {file}:\d+: line: gzip can't unpack it: ", result.stderr)


def test_a_reader_that_goes_away_ends_fold_quietly():
    data = b"".join(golden_lines(SEED_FOLD)) * 4
    command = [sys.executable, "-m", "behest_core.cli", "fold", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as folding:
        folding.stdout.close()
        folding.stdout = None
        _, stderr = folding.communicate(data)
    assert (folding.returncode, stderr) == (141, b"")


# ---------------------------------------------------------------- where the tables are


@pytest.fixture
def nowhere(monkeypatch):
    """Leave nothing in the environment that says where AWS or the tables are."""
    for name in ("BEHEST_EVENT_TABLE", "BEHEST_STATE_TABLE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


TABLES = {"BEHEST_EVENT_TABLE": "events", "BEHEST_STATE_TABLE": "states"}
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
REGION = {"AWS_REGION": "eu-west-1"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {},
            "which tables? name the stack (--stack, or RunStore.from_stack), or set BEHEST_EVENT_TABLE and BEHEST_STATE_TABLE",
        ),
        (
            {"BEHEST_STATE_TABLE": "s"},
            "BEHEST_EVENT_TABLE is not set; set it as well, or name the stack (--stack, or RunStore.from_stack)",
        ),
        (
            {"BEHEST_EVENT_TABLE": "e"},
            "BEHEST_STATE_TABLE is not set; set it as well, or name the stack (--stack, or RunStore.from_stack)",
        ),
        (TABLES, "no AWS region is set; set AWS_REGION, or AWS_PROFILE to a profile that has one"),
        (
            TABLES | REGION,
            "no AWS credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`",
        ),
        (
            TABLES | REGION | {"AWS_PROFILE": "nobody"},
            "The config profile (nobody) could not be found; set AWS_PROFILE to one of ~/.aws/config",
        ),
        (
            TABLES | REGION | KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "can't reach http://127.0.0.1:9/; check the network, the region, and AWS_ENDPOINT_URL if it is set",
        ),
        (
            TABLES | REGION | KEYS | {"AWS_ENDPOINT_URL": "nowhere"},
            "Invalid endpoint: nowhere; check AWS_ENDPOINT_URL and the region",
        ),
    ],
)
def test_one_line_says_what_is_missing_to_reach_the_tables(nowhere, environment, message):
    for name, value in environment.items():
        nowhere.setenv(name, value)
    result = behest("show", RUN)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"behest: {message}\n")


def test_a_program_is_told_the_same_by_a_configuration_error(nowhere):
    with pytest.raises(ConfigurationError, match="which tables\\? name the stack"):
        RunStore.from_env()
    with pytest.raises(ConfigurationError, match="no AWS region is set; set AWS_REGION"):
        RunStore.from_stack("behest")
    nowhere.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(ConfigurationError, match="no AWS credentials found; set AWS_PROFILE"):
        RunStore.from_stack("behest")
    nowhere.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match=r"nobody.*; set AWS_PROFILE to one of ~/.aws/config"):
        RunStore.from_stack("behest")


def client_error(code: str, message: str = "No.") -> aws.ClientError:
    return aws.ClientError({"Error": {"Code": code, "Message": message}}, "Query")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            client_error("AccessDeniedException", "not authorized to perform: dynamodb:Query"),
            "access denied: not authorized to perform: dynamodb:Query; ask for this permission, or set AWS_PROFILE to who has it",
        ),
        (
            client_error("ExpiredTokenException"),
            "the AWS credentials have expired; renew them, with `aws sso login` for instance",
        ),
        (
            client_error("UnrecognizedClientException"),
            "AWS doesn't know these credentials; check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (client_error("ThrottlingException"), "AWS is throttling Query: No; try again later"),
        (client_error("ValidationException"), "AWS refused Query: ValidationException: No"),
        (aws.ReadTimeoutError(endpoint_url="http://x"), 'Read timeout on endpoint URL: "http://x"'),
        (
            aws.TokenRetrievalError(provider="sso", error_msg="old"),
            "can't get AWS credentials: Error when retrieving token from sso: old; run `aws sso login`",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError(), None),
    ],
)  # fmt: skip
def test_every_error_that_a_user_can_meet_has_its_line(error, line):
    assert explain(error) == line


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00.5+01:00", "2026-01-31T11:00:00.500000000Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000000000Z"),
    ],
)
def test_a_time_is_rfc_3339_utc_by_default_or_a_date(text, moment):
    assert parse_time(text) == moment


def test_a_time_may_be_an_age():
    age = datetime.now(UTC) - datetime.fromisoformat(parse_time("2h")[:26] + "+00:00")
    assert abs(age - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "noon", "2026-13-01", "5x", "-2h", "2026-01-31T25:00:00Z"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(typer.BadParameter, match="expected a time such as"):
        parse_time(text)


def test_a_status_is_found_whatever_its_capitals():
    assert parse_status("callingmodel") is RunStatus.CALLING_MODEL
    with pytest.raises(typer.BadParameter, match="expected one of Pending, "):
        parse_status("stuck")


# ---------------------------------------------------------------- what is shown


def test_control_characters_of_a_run_do_not_reach_the_terminal():
    assert clean("a\x1b[31m\nb\u202e\x9b") == "a\\x1b[31m\\nb\\u202e\\x9b"
    assert clean("Grüße, 日本 🙂") == "Grüße, 日本 🙂"


def test_times_are_shown_in_utc_without_empty_digits():
    assert time_text("2026-01-31T12:00:00.500000000+01:00") == "2026-01-31T11:00:00.5Z"
    assert second_text("2026-01-31T12:00:00.500000000Z") == "2026-01-31 12:00:00"
    assert (time_text(None), time_text("soon\x07")) == ("-", "soon\\x07")


# ---------------------------------------------------------------- events --follow


class Log:
    """A log that grows each time somebody waits for it."""

    def __init__(self, *lots: list[Any], has_record: bool = True) -> None:
        self.lots = list(lots)
        self.pauses = 0
        self.appended: list[Any] = []
        self.has_record = has_record
        self.grow()

    def grow(self, _seconds: float = 0) -> None:
        self.appended += self.lots.pop(0) if self.lots else []

    def pause(self, seconds: float) -> None:
        assert seconds == 1
        self.pauses += 1
        assert self.pauses < 10, "it never ends"
        self.grow()

    def head(self, _run_id: str) -> int:
        return len(self.appended)

    def record(self, _run_id: str) -> Any:
        return run_record() if self.has_record else None

    def events(self, run_id: str, after: int, limit: int | None = None) -> Any:
        for sequence, event in list(enumerate(self.appended, start=1))[after:][:limit]:
            yield RecordedEvent(run_id, sequence, "", encode_event(event))


def followed(log: Log, after: int = 0) -> list[int]:
    return [event.sequence for event in follow_events(log, RUN, after, log.pause)]  # type: ignore[arg-type]


def test_following_gives_what_is_there_and_then_what_comes():
    log = Log([run_started()], [], [text_delta(), text_delta()], [run_completed()])
    assert followed(log) == [1, 2, 3, 4]


def test_following_ends_a_pause_after_the_run_has():
    log = Log([run_started(), run_completed()])
    assert followed(log) == [1, 2]
    assert log.pauses == 1


def test_following_goes_on_with_what_comes_just_after_the_end():
    log = Log([run_completed()], [text_delta()], [], [run_completed()])
    assert followed(log) == [1, 2, 3]


def test_following_from_the_end_of_a_run_that_is_over_ends():
    assert followed(Log([run_started(), run_completed()]), after=2) == []


def test_following_waits_for_the_first_event_of_a_run_that_has_a_record():
    assert followed(Log([], [], [run_completed()])) == [1]


def test_following_waits_for_a_run_that_is_not_there_yet_and_says_so(capsys):
    assert followed(Log([], [run_started()], [run_completed()], has_record=False)) == [1, 2]
    assert capsys.readouterr().err == f"behest: run {RUN} isn't there yet; waiting for it, until Ctrl-C\n"


# ---------------------------------------------------------------- the demo's scripts


def test_the_demo_shows_each_way_a_run_can_go():
    assert len({script.run_id for script in SCRIPTS}) == 12
    assert {script.ending for script in SCRIPTS} == set(Ending)
    assert len({script.provider for script in SCRIPTS}) == 3
    tools = [turn.tool for script in SCRIPTS for turn in script.turns if turn.tool]
    assert any(tool.error for tool in tools)
    assert any(tool.needs_approval for tool in tools)
