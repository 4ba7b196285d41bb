"""`behest show --html`, on the local stack."""

from __future__ import annotations

import pytest

from tests.cli import behest, done, refused

pytestmark = pytest.mark.usefixtures("stack")


def a_run(stack, run_id="r"):
    with stack.store.recorder(provider="openai", model="gpt-4o", run_id=run_id) as run:
        call = run.model_call(messages=[{"role": "user", "content": "my secret"}])
        call.text("It is **cold**.")
        call.finished("stop")
    stack.deliver()


def test_a_run_is_written_as_one_file(stack, tmp_path):
    a_run(stack)
    file = tmp_path / "run.html"
    assert done("show", "r", "--html", str(file)) == ""
    page = file.read_text()
    assert "It is <strong>cold</strong>." in page
    assert "my secret" in page
    assert "://" not in page


def test_redacted_the_file_has_nothing_of_what_was_said(stack, tmp_path):
    a_run(stack)
    file = tmp_path / "run.html"
    done("show", "r", "--html", str(file), "--redact")
    page = file.read_text()
    assert "gpt-4o" in page
    assert "cold" not in page
    assert "secret" not in page


@pytest.mark.parametrize("options", [("--json",), ("--at-sequence", "1"), ("--at", "1h")])
def test_the_file_is_the_whole_run(options, tmp_path):
    assert behest("show", "r", "--html", str(tmp_path / "a"), *options).exit_code == 2
    assert not (tmp_path / "a").exists()


def test_only_a_file_is_redacted():
    assert behest("show", "r", "--redact").exit_code == 2


def test_a_run_that_is_not_there_and_a_file_that_cannot_be_written_are_told(stack, tmp_path):
    assert "no run r" in refused("show", "r", "--html", str(tmp_path / "a"))
    a_run(stack)
    assert "No such file" in refused("show", "r", "--html", str(tmp_path / "none" / "a"))
