"""Models that stand in for real ones in docs/recording.md, by the name that its examples use."""

from __future__ import annotations

from typing import Final

from ag_ui_models import weather_agent
from durable_processes import LambdaService
from langchain_models import weather_agent as weather_graph
from openai_agents_models import StubModel as OpenAIAgentsModel
from openai_agents_models import asks, says, tokens
from pydantic_ai_models import answer, calls, scripted
from strands_models import StubModel, Turn

MODELS: Final[dict[str, object]] = {
    "strands_model": StubModel(
        Turn(tools=[("call-1", "get_weather", {"city": "Oslo"})]), Turn(["It is ", "3 degrees."])
    ),
    "langgraph_agent": weather_graph(),
    "openai_agents_model": OpenAIAgentsModel(
        [asks("get_weather", {"city": "Oslo"}, tokens(100, 10)), says("It is 3 degrees.", tokens(120, 5))]
    ),
    "ag_ui_agent": weather_agent,
    "lambda_service": LambdaService(),
    "pydantic_ai_model": scripted(
        calls("get_weather", input_tokens=100, output_tokens=10),
        answer("It is 3 degrees.", input_tokens=120, output_tokens=5),
    ),
}
