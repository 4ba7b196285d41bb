"""Importing the projector function and making its client, against a process that only makes a DynamoDB client."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.golden import ROOT

ROUNDS = 7
GOAL = 1.25

BARE = "import boto3; boto3.client('dynamodb')"
PROJECTOR = "import functions.projector.app as app; app.connect(app.logger)"


def seconds(program: str) -> float:
    environment = os.environ | {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "BEHEST_EVENT_TABLE": "events",
        "BEHEST_STATE_TABLE": "states",
        "POWERTOOLS_SERVICE_NAME": "behest-projector",
        "POWERTOOLS_METRICS_NAMESPACE": "Behest",
    }
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - start


@pytest.mark.benchmark
def test_cold_start_of_the_projector_against_a_bare_client():
    seconds(BARE), seconds(PROJECTOR)  # the file cache
    pairs = [(seconds(PROJECTOR), seconds(BARE)) for _ in range(ROUNDS)]
    ratios = sorted(projector / bare for projector, bare in pairs)
    projector, bare = (min(column) for column in zip(*pairs, strict=True))
    print(
        f"\ncold start: projector {projector * 1000:.0f} ms, a DynamoDB client alone {bare * 1000:.0f} ms; "
        f"{ratios[ROUNDS // 2]:.2f} times (goal at most {GOAL}, seen {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
