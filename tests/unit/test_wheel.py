"""What `pip install behest-core` brings: the package, and with it the templates and the functions, for the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest

from tests.golden import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder with what the wheel holds, as pip unpacks it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "installed")
    return folder / "installed"


def test_it_holds_the_templates_and_every_function(installed):
    deployed = installed / "behest_core" / "_deploy"
    expected = {file.relative_to(ROOT) for file in (ROOT / "functions").rglob("*.py")}
    actual = {file.relative_to(deployed) for file in (deployed / "functions").rglob("*") if file.is_file()}
    assert expected == actual
    for template in ("template.yaml", "monitoring.yaml"):
        assert (ROOT / template).read_bytes() == (deployed / template).read_bytes()


def test_the_local_stack_finds_them_there(installed, tmp_path):
    question = "from behest_core.testing.template import template_path; print(template_path())"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == str(installed / "behest_core" / "_deploy" / "template.yaml")


def test_type_checkers_may_use_its_annotations(installed):
    assert (installed / "behest_core" / "py.typed").exists()
