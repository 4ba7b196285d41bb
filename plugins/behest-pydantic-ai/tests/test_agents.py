"""Agents that call agents."""

from pydantic_ai import Agent, RunContext
from pydantic_ai_models import ALL_TOKENS, ANSWERED, FIRST, LAST, WITH_A_TOOL, answer, calls, scripted, with_model

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
    assert other.record.metadata["parent_run_id"] == other.record.metadata["root_run_id"] == one.record.run_id
    assert "parent_run_id" not in one.record.metadata
    assert other.record.session_id == one.record.session_id
    assert other.record.metadata["conversation_id"] != one.record.session_id


def test_a_run_below_another_one_knows_where_it_all_began(stack, recording):
    innermost = Agent(scripted(answer("3 degrees.")), capabilities=[recording], name="innermost")

    async def thermometer(city: str) -> str:
        return (await innermost.run(city)).output

    inner = with_model(recording, calls("thermometer"), LAST, tools=[thermometer], name="inner")

    async def weather(city: str) -> str:
        return (await inner.run(city)).output

    with_model(recording, FIRST, LAST, tools=[weather], name="outer").run_sync("Oslo?", conversation_id="alice")
    runs = {run.record.metadata["agent_name"]: run.record for run in all_recorded(stack.store)}
    assert runs["innermost"].metadata["parent_run_id"] == runs["inner"].run_id
    assert runs["innermost"].metadata["root_run_id"] == runs["outer"].run_id
    assert {each.session_id for each in runs.values()} == {"alice"}
