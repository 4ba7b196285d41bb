"""Records agents of the OpenAI Agents SDK in behest."""
