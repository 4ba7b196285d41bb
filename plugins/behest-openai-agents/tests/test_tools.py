"""Tools: asked for, executed, and what they returned."""

import asyncio

from agents import LocalShellTool, RunConfig
from agents.testing import ModelStep
from openai.types.responses import ResponseFunctionWebSearch
from openai.types.responses.response_output_item import LocalShellCall
from openai_agents_models import agent, answers, says, sorry

from behest_core.testing.recorded import the_recorded


def test_a_tool_call_has_its_id_arguments_result_and_duration(stack, runner):
    asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    run = the_recorded(stack.store)
    [call], [started], [finished] = map(run.of, ("ToolCallCompleted", "ToolExecutionStarted", "ToolExecutionFinished"))
    assert call["call"] == {"id": "call-1", "name": "weather", "arguments": {"city": "Oslo"}}
    assert (started["call_id"], started["tool_name"]) == ("call-1", "weather")
    assert (finished["call_id"], finished["tool_name"]) == ("call-1", "weather")
    assert finished["result"] == {"Success": {"output": {"temp": 3}}}
    assert isinstance(finished["duration_ms"], int)


def test_tools_that_are_no_functions_are_tools_too(stack, runner):
    search = {
        "type": "web_search_call",
        "id": "ws-1",
        "status": "completed",
        "action": {"type": "search", "query": "Oslo"},
    }
    command = {"type": "exec", "command": ["ls"], "env": {}}
    shell = {"type": "local_shell_call", "id": "ls-1", "call_id": "call-1", "status": "completed", "action": command}
    output = [ResponseFunctionWebSearch(**search), LocalShellCall(**shell)]
    tools = [LocalShellTool(executor=lambda _: "readme.md")]
    asyncio.run(runner.run(agent(ModelStep(output=output), says("A file."), tools=tools), "Files?"))
    run = the_recorded(stack.store)
    calls = [each["call"] for each in run.of("ToolCallCompleted")]
    assert [(call["id"], call["name"]) for call in calls] == [("ws-1", "web_search"), ("call-1", "local_shell")]
    assert (calls[0]["arguments"]["action"]["query"], calls[1]["arguments"]["action"]["command"]) == ("Oslo", ["ls"])
    [finished] = run.of("ToolExecutionFinished")
    assert (finished["call_id"], finished["result"]) == ("local_shell", {"Success": {"output": "readme.md"}})


def test_without_tracing_a_tool_with_a_failure_error_function_of_its_own_seems_to_succeed(stack, runner):
    config = RunConfig(tracing_disabled=True)
    asyncio.run(runner.run(agent(*answers("sorry"), tools=[sorry]), "Oslo?", run_config=config))
    [finished] = the_recorded(stack.store).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": "no such city, sorry"}}
