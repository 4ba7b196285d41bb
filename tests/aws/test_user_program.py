"""The program that `make lint` checks the types of, run."""

from pathlib import Path

from tests.typed import user_program


def test_it_runs(stack, monkeypatch):
    delivered = stack.store.wait
    monkeypatch.setattr(stack.store, "wait", lambda *args, **named: (stack.deliver(), delivered(*args, **named))[1])
    followed = stack.store.subscribe
    monkeypatch.setattr(stack.store, "subscribe", lambda run_id: followed(run_id, sleep=lambda _: None))
    lines = user_program.use(stack.store)
    assert lines[0] == "support: Completed, 1240 tokens"
    assert lines[-1] == "stop"


def test_it_needs_no_cast():
    assert "ignore" not in Path(user_program.__file__).read_text()
