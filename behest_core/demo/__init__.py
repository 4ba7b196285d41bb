"""Agents that play scripts, and one that is real, on the whole stack in this process: what `behest demo` shows."""
