"""The contract that the fake DynamoDB is tested by, on the emulator."""

import pytest

from tests.contract.backends import endpoint_backend
from tests.contract.behaviours import *  # noqa: F403 (the tests)
from tests.e2e.emulator import running_emulator

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    with (
        running_emulator(tmp_path_factory.mktemp("emulator")) as url,
        endpoint_backend("ministack", url) as backend,
    ):
        yield backend


@pytest.fixture
def dynamodb(tables):
    return tables.for_another_test()
