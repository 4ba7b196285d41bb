"""The folders are the dependency rule: what lies in one imports only what lies in those above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import behest_core

PACKAGE = Path(behest_core.__file__).parent

LAYERS = [
    ("errors",),
    ("model",),
    ("wording",),
    ("fold",),
    ("transcript",),
    ("plugins",),
    ("dynamodb",),
    ("recording",),
    ("projection",),
    ("search",),
    ("interchange", "store", "runtime"),
    ("async_store",),
    ("testing",),
    ("terminal",),
    ("web",),
    ("web",),
    ("demo",),
    ("cli",),
]
"""From the bottom up. A name is a folder, or a module that stands by itself."""

PURE = ("errors", "model", "wording", "fold", "transcript")
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer_of(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_by(module: Path) -> set[str]:
    """Return what a module imports of behest_core by name, imports for type checkers included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "behest_core":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("behest_core."):
            found.add(str(node.module).split(".")[1])
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_those_below(module: Path):
    own = layer_of(module)
    assert own in RANK
    beyond = {name for name in imported_by(module) if name in RANK and name != own and RANK[name] >= RANK[own]}
    assert beyond == set()


def test_the_pure_core_runs_without_clock_input_output_or_aws():
    modules = [
        ".".join(("behest_core", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in MODULES
        if layer_of(path) in PURE and path.name != "__init__.py"
    ]
    program = f"import sys; import {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = {*run.stdout.split()}
    assert {"boto3", "botocore", "aws_lambda_powertools", "pluggy", "logging"} & loaded == set()
    of_behest = {name.split(".")[1] for name in loaded if name.startswith("behest_core.")}
    assert of_behest == set(PURE)
