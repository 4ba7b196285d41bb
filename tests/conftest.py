"""What holds for the whole test run: how it begins, and what it shows in the end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.simulation.figures import Figures

if TYPE_CHECKING:
    import pytest


def pytest_configure() -> None:
    """Let Ctrl-C work, in programs that tests start too: shells let jobs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what simulations have to show for themselves, also where they ran in other processes."""
    figures = Figures()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "simulation":
                figures += Figures.from_json(value)
    if figures.simulations:
        terminalreporter.section("simulations")
        for line in figures.lines():
            terminalreporter.line(line)
