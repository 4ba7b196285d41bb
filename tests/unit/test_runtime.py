"""What the functions are put together from."""

from __future__ import annotations

import importlib
import sys
from enum import StrEnum

import pytest

import behest_core
from behest_core.runtime import METRIC_OF_TROUBLE


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
