"""A plugin as a third party publishes it: a package outside this repository, built into a wheel, that pip finds in a folder."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "approvals"
"""Of its entry point."""

DISLIKED = "disliked"
"""The run that its reaction raises for."""

_PROJECT = """
    [build-system]
    requires = ["hatchling"]
    build-backend = "hatchling.build"

    [project]
    name = "acme-approvals"
    version = "1.0"
    dependencies = ["behest-core>=0.1"]

    [project.entry-points.behest]
    approvals = "acme_approvals"
"""
_MODULE = """
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


    @hookimpl
    def behest_run_changed(change):
        if change.run_id == "disliked":
            raise RuntimeError("no")
"""


def publish(folder: Path) -> Path:
    """Build its wheel; give a requirements file that names the package and where pip finds it."""
    package = folder / "acme-approvals"
    package.mkdir()
    (package / "pyproject.toml").write_text(dedent(_PROJECT))
    (package / "acme_approvals.py").write_text(dedent(_MODULE))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels"],
        cwd=package,
        check=True,
        capture_output=True,
        timeout=60,
    )
    requirements = folder / "plugins.txt"
    requirements.write_text(f"--no-index\n--find-links {folder / 'wheels'}\nacme-approvals==1.0\n")
    return requirements
