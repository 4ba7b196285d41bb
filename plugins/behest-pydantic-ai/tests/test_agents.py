"""Agents that call agents."""

from pydantic_ai import Agent, RunContext
from pydantic_ai_models import ALL_TOKENS, ANSWERED, FIRST, LAST, WITH_A_TOOL, answer, scripted, with_model

from behest_core.model.state import TokenUsage
from behest_core.testing.recorded import all_recorded


def test_an_agent_that_a_tool_asks_has_a_run_of_its_own(stack, recording):
    inner = Agent(scripted(answer("3 degrees.", input_tokens=7, output_tokens=1)), capabilities=[recording])

    async def weather(ctx: RunContext, city: str) -> str:
        return (await inner.run(city, usage=ctx.usage)).output

    outer = with_model(recording, FIRST, LAST, tools=[weather])
    outer.run_sync("Oslo?")
    one, other = all_recorded(stack.store)
    assert one.types == WITH_A_TOOL
    assert one.state.total_usage == ALL_TOKENS
    assert other.types == ["RunStarted", *ANSWERED, "RunCompleted"]
    assert other.state.total_usage == TokenUsage(7, 1, 8)
    assert other.record.metadata["parent_run_id"] == one.record.run_id
    assert "parent_run_id" not in one.record.metadata
