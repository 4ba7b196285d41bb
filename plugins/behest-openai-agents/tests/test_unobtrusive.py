"""Whatever goes wrong in the recording, the agent goes on."""

import asyncio

import behest_openai_agents
import pytest
from agents import RunHooks, Runner, UserError
from agents.lifecycle import RunHooksBase
from behest_openai_agents import BehestRunner, levels, model_calls, recording
from behest_openai_agents.hooks import RecordingHooks
from openai_agents_models import ASKED, SAID, USED, agent, answers, asks, delete, read, settled, weather, work_of

from behest_core.testing.recorded import all_recorded, refuse_writes, the_recorded


def test_the_users_hooks_are_called_and_may_raise(stack, runner):
    calls = []

    class Hooks(RunHooks):
        async def on_agent_start(self, *_):
            calls.append("agent_start")

        async def on_llm_start(self, *_):
            calls.append("llm_start")

        async def on_tool_end(self, *_):
            raise LookupError("a hook's own")

    with pytest.raises(UserError, match="a hook's own"):
        asyncio.run(runner.run(agent(*answers()), "Oslo?", hooks=Hooks()))
    assert calls == ["agent_start", "llm_start"]
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *ASKED, *USED, "RunFailed"]


def test_every_hook_of_the_sdk_reaches_the_users():
    hooks = {name for name in dir(RunHooksBase) if name.startswith("on_")}
    assert hooks == {name for name in vars(RecordingHooks) if name.startswith("on_")}


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, runner, monkeypatch):
    monkeypatch.setattr(recording, "END_WAIT", 0.01)
    back = refuse_writes(stack)
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    assert result.final_output == "3 degrees."
    back()
    assert work_of(settled(stack)) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]


@pytest.mark.parametrize(
    "mistaken_in",
    [
        (model_calls, "Answer"),
        (model_calls, "tokens_of"),
        (levels, "tool_result"),
        (levels, "model_of"),
        (levels.Sent, "of"),
        (recording, "call_id"),
        (recording, "pause"),
        (recording, "outputs_in"),
    ],
)
def test_a_mistake_of_ours_changes_nothing_for_the_agent(stack, runner, monkeypatch, caplog, mistaken_in):
    def mistaken(*_, **__):
        raise ZeroDivisionError("ours")

    def asked():
        steps = [asks("weather", {"city": "Oslo"}, call_id="call-0"), asks("delete", {"city": "Oslo"})]
        return agent(*steps, tools=[weather, delete])

    async def main():
        result = runner.run_streamed(asked(), "Oslo?")
        await read(result)
        return [await runner.run(asked(), "Oslo?"), result]

    monkeypatch.setattr(*mistaken_in, mistaken)
    assert [len(result.interruptions) for result in asyncio.run(main())] == [1, 1]
    assert "ZeroDivisionError: ours" in caplog.text
    assert [run.types[0] for run in all_recorded(stack.store)] == ["RunStarted"] * 2


def test_a_run_that_could_not_be_begun_goes_on_unrecorded(stack, caplog, monkeypatch):
    def begin(*args, **kwargs):
        raise TypeError("no")

    monkeypatch.setattr(behest_openai_agents, "begin", begin)
    runner = BehestRunner(stack.store)
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    assert (result.final_output, all_recorded(stack.store)) == ("3 degrees.", [])
    assert "TypeError" in caplog.text


def test_outside_of_a_recorded_run_the_sdk_is_as_it_was(stack):
    seen = agent(*answers())
    result = asyncio.run(Runner.run(seen, "Oslo?"))
    assert (result.final_output, all_recorded(stack.store)) == ("3 degrees.", [])
