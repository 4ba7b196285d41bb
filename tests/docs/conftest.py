"""The stack that the examples of the documentation run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from behest_core.testing.lane import MappingSettings
from behest_core.testing.local_stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """Return the tables of template.yaml, with their names in the environment, and the projector, which waits to be called."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # one from before would remember another region or account
    with LocalStack(settings=MappingSettings(batch_size=500, report_batch_item_failures=True)) as local:
        yield local
