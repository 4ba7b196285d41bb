"""The contract, on the fake, on moto, and on what BEHEST_CONTRACT_ENDPOINT names, the URL of a DynamoDB.

`make e2e` runs it on the emulator (tests/e2e/test_contract.py).
"""

import os

import pytest

from tests.contract.backends import endpoint_backend, fake_backend, moto_backend
from tests.contract.behaviours import *  # noqa: F403 (the tests)

ENDPOINT = os.environ.get("BEHEST_CONTRACT_ENDPOINT")
BACKENDS = {"fake": fake_backend, "moto": moto_backend}
if ENDPOINT:
    BACKENDS["ministack"] = lambda: endpoint_backend("ministack", ENDPOINT)


@pytest.fixture(scope="module", params=BACKENDS)
def tables(request):
    with BACKENDS[request.param]() as backend:
        yield backend


@pytest.fixture
def dynamodb(tables):
    return tables.for_another_test()
