"""The OpenAPI document and the routes are the same, and whatever the document allows is answered as it says."""

from __future__ import annotations

import re

import pytest
import schemathesis
from aws_lambda_powertools.event_handler import HttpResolverLocal
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from behest_core.plugins.loading import load
from behest_core.web.application import VIEWS, App, add_routes
from behest_core.web.openapi import DOCUMENT

pytestmark = pytest.mark.filterwarnings("ignore")

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)

schema = schemathesis.openapi.from_dict(DOCUMENT)


def test_the_document_has_each_route_of_the_api_and_no_other():
    paths = {re.sub(r"<(\w+)>", r"{\1}", path) for path in VIEWS if path.startswith("/api/")}
    assert set(DOCUMENT["paths"]) == paths


@pytest.fixture(scope="module")
def api(web_stack):
    resolver = HttpResolverLocal()
    add_routes(resolver, App(web_stack.store, load(["approvals", "cost"])))
    return resolver


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_what_the_document_allows_is_answered_as_it_says(api, case):
    response = case.call(base_url="http://page", app=api)
    case.validate_response(response, checks=CHECKS)
