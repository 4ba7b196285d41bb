"""Whether Lambda calls the functions that read streams."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from behest_core.projection.mappings import idle_mappings

ONE, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def idle(*answers: dict[str, Any] | str) -> dict[str, str]:
    """Return what is idle where Lambda answers so of each mapping in turn: a description, or an error's code."""
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as lambda_:
        for answer in answers:
            if isinstance(answer, str):
                lambda_.add_client_error("get_event_source_mapping", answer)
            else:
                lambda_.add_response("get_event_source_mapping", answer)
        return idle_mappings(client, [ONE, OTHER][: len(answers)])


@pytest.mark.parametrize("state", ["Creating", "Enabling", "Enabled", "Updating"])
def test_a_mapping_that_calls_its_function_or_is_about_to_is_not_idle(state: str):
    assert idle({"State": state}) == {}


@pytest.mark.parametrize("state", ["Disabling", "Disabled", "Deleting"])
def test_a_mapping_that_does_not_call_its_function_is_idle_by_lambdas_own_word(state: str):
    assert idle({"State": "Enabled"}, {"State": state}) == {OTHER: state}


def test_a_mapping_that_is_gone_is_idle():
    assert idle("ResourceNotFoundException", {"State": "Enabled"}) == {ONE: "Gone"}


def test_where_lambda_does_not_say_nothing_is_made_of_it():
    with pytest.raises(ClientError, match="AccessDeniedException"):
        idle("AccessDeniedException")
