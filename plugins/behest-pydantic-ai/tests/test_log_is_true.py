"""The log is the truth about the agent: the adapter kit's scripts, played by Pydantic AI."""

import pytest
from stage_models import OfPydanticAI

from behest_core.testing.adapter_kit import SCENARIOS, check_scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_log_tells_what_the_stage_counted(stack, scenario):
    check_scenario(OfPydanticAI(), scenario, stack)
