"""Records agents of Pydantic AI in behest."""
