"""What the functions are put together from."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import botocore
import pytest
from botocore.loaders import JSONFileLoader

import behest_core
from behest_core import runtime
from behest_core.runtime import METRIC_OF_TROUBLE
from tests.golden import ROOT

MODELS = sorted((Path(botocore.__file__).parent / "data" / "dynamodb").rglob("*.json*"))


def test_without_the_extra_lambda_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("aws_lambda_powertools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aws_lambda_powertools", None)
    monkeypatch.delitem(sys.modules, "behest_core.runtime", raising=False)
    monkeypatch.delattr(behest_core, "runtime", raising=False)
    with pytest.raises(ModuleNotFoundError) as raised:
        importlib.import_module("behest_core.runtime")
    assert 'pip install "behest-core[lambda]"' in "".join(raised.value.__notes__)


def test_every_kind_of_trouble_has_a_metric():
    trouble = pytest.importorskip(
        "behest_core.projection.trouble", reason="the kinds are not yet in a module of their own"
    )
    [kinds] = [each for each in vars(trouble).values() if isinstance(each, type) and StrEnum in each.__bases__]
    assert {*kinds} == METRIC_OF_TROUBLE.keys()


def test_the_functions_do_without_boto3():
    """To import it takes a tenth of a cold start."""
    program = (
        "import sys, functions.projector.app, functions.reconciler.app, functions.notifier.app; "
        "sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    runtime._session.cache_clear()
    yield runtime._session()
    runtime._session.cache_clear()


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_botocores_models_are_read_as_botocore_reads_them(session, model):
    path = str(model).removesuffix(".gz").removesuffix(".json")
    read = session.get_component("data_loader").file_loader.load_file
    assert read(path) == JSONFileLoader().load_file(path)
    assert read(path + "-missing") is None


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_is_left_as_it_was(collects):
    (gc.enable if collects else gc.disable)()
    try:
        assert runtime.client("dynamodb").meta.service_model.service_name == "dynamodb"
        assert gc.isenabled() == collects
    finally:
        gc.enable()
