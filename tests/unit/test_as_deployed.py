"""A plugin is tried as the functions load it: without what only the command, the page and the tests have."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from behest_core.plugins.as_deployed import EXTRAS, refused_as_deployed, required_by, without_extras
from tests.cli import behest
from tests.golden import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOT_THERE = "ModuleNotFoundError"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a plugin of one module, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str, *, requires: tuple[str, ...] = ()) -> None:
        (tmp_path / f"behest_{name}.py").write_text(source)
        about = tmp_path / f"behest_{name}-1.0.dist-info"
        about.mkdir()
        required = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: behest-{name}\nVersion: 1.0\n{required}")
        (about / "entry_points.txt").write_text(f"[behest]\n{name} = behest_{name}\n")

    return write


def test_the_extras_are_those_of_the_package_less_what_the_functions_have():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[^\w-]", each)[0].lower() for each in wanted} for extra, wanted in extras.items()}
    assert set(EXTRAS) == (names["cli"] | names["web"] | names["testing"]) - names["lambda"]


def test_a_plugin_that_imports_an_extra_at_its_top_is_refused(install):
    install("laptop", "import rich.text\n")
    install("commands", "from behest_core.cli.extending import Run\n")
    install("good", "def behest_commands(app):\n    import typer\n")
    refused = refused_as_deployed(["laptop", "commands", "good"])
    assert NOT_THERE in refused["laptop"]
    assert NOT_THERE in refused["commands"]
    assert set(refused) == {"laptop", "commands"}


def test_what_a_plugin_requires_itself_is_there(install):
    install("own", "import yaml\n", requires=("PyYAML>=6", "rich>=14; extra == 'test'"))
    assert required_by("own") == required_by("behest_own") == {"yaml"}
    assert refused_as_deployed(["own"]) == {}


def test_a_plugin_that_ends_the_process_is_told(install):
    install("leaves", "import os\nos._exit(3)\n")
    with pytest.raises(RuntimeError, match=r"plugins can't be loaded as the functions do: .*exit status 3"):
        refused_as_deployed(["leaves"])


def test_behind_it_everything_can_be_imported_as_before():
    import rich.text  # noqa: PLC0415 (what is asked is whether it stays)

    with without_extras(), pytest.raises(ImportError):
        import rich.table  # noqa: PLC0415
    assert sys.modules["rich.text"] is rich.text


def test_behest_plugins_says_what_the_functions_would_refuse(install, monkeypatch):
    install("laptop", "import typer\n")
    lines = behest("plugins").stdout.splitlines()
    start = lines.index("laptop  behest-laptop 1.0  refused in the functions")
    assert NOT_THERE in lines[start + 1]
    assert "import it in the hook that needs it, or require it" in lines[start + 2]
    assert behest("plugins").exit_code == 0
    monkeypatch.setenv("BEHEST_PLUGINS", "laptop")
    result = behest("plugins", "--json")
    [found] = [each for each in map(json.loads, result.stdout.splitlines()) if each["name"] == "laptop"]
    assert (result.exit_code, found["refused"]) == (1, None)
    assert NOT_THERE in found["refused_in_functions"]
