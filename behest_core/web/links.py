"""The addresses of a run's pages. They name the run in the query, where any id fits."""

from __future__ import annotations

from typing import NamedTuple

from behest_core.web.pages import link


class Links(NamedTuple):
    """The links of one run's pages: to it, to what is of it, to others."""

    run_id: str

    def page(self, page: str = "", **query: object) -> str:
        """Return the address of a page of the run: `events`, `at`, `slices`, `tree`, or none for the run itself."""
        return link(f"/run/{page}" if page else "/run", id=self.run_id, **query)

    def event(self, sequence: int) -> str:
        """Return the address of one event."""
        return self.page("events", after=sequence - 1, limit=1)

    def run(self, run_id: str) -> str:
        """Return the address of another run."""
        return link("/run", id=run_id)

    def session(self, session_id: str) -> str:
        """Return the address of a session."""
        return link("/session", id=session_id)
