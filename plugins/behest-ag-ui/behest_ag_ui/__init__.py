"""Records agents of AG-UI in behest."""
