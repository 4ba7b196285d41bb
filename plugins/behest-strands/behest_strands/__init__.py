"""Records agents of Strands Agents in behest."""
