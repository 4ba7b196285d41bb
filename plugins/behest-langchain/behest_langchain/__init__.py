"""Records agents of LangChain and LangGraph in behest."""
