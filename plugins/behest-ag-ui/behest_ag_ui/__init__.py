"""Records agents that speak AG-UI, from the events that they send to a user interface.

- `record` wraps an agent's event stream: each event goes on as it is, and the run is recorded beside it.
- `translate` says in behest's events what one AG-UI event says, for those who append events by themselves.
"""

from behest_ag_ui.recording import record
from behest_ag_ui.translation import translate

__all__ = ["record", "translate"]
