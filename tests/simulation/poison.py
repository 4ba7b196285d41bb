"""Events that can't be folded, put into a log by a writer that is not behest's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.simulation.oracle import ALWAYS
from tests.simulation.versions import DEADLY, OLD, ONLY_NEW

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.contract.fake import FakeDynamoDB
    from tests.simulation.oracle import Oracle
    from tests.simulation.surroundings import Surroundings

KINDS = {
    "malformed event": 6,
    "no JSON": 1,
    "wrong count": 1,
    "no zlib": 1,
    "no events": 1,
    "only new": 2,
    "deadly": 2,
}
"""With how often each is drawn."""


_ERRORS = {"only new": ONLY_NEW, "deadly": DEADLY}


class Poisoner:
    """Appends a commit that holds a bad event. It does so at once and never fails: it is not what is tested."""

    def __init__(self, around: Surroundings, database: FakeDynamoDB, table: str, oracle: Oracle) -> None:
        self._database = database
        self._table = table
        self._oracle = oracle
        self._random = around.random
        self._now = around.moment

    def drawn(self, kinds: Collection[str]) -> str:
        weights = {kind: weight for kind, weight in KINDS.items() if kind in kinds}
        return self._random.choices(list(weights), list(weights.values()))[0]

    def put(self, run_id: str, kind: str) -> None:
        if run_id in self._oracle.unjudged:
            return  # what can't be folded and what is another history don't meet here
        sequence = self._oracle.head(run_id) + 1
        count, bad, attributes = self._commit(kind)
        item = {
            "run_id": {"S": run_id},
            "sequence": {"N": str(sequence)},
            "commit_id": {"S": str(UUID(int=self._random.getrandbits(128), version=4))},
            "committed_at": {"S": self._now()},
            "count": {"N": str(count)},
            **attributes,
        }
        self._oracle.poisoned(run_id, sequence + bad, OLD if kind == "only new" else ALWAYS)
        if kind == "deadly":
            self._oracle.deadly.add(run_id)
        self._database.put_item(TableName=self._table, Item=item)

    def _commit(self, kind: str) -> tuple[int, int, dict[str, Any]]:
        """Return the count that the commit says, the place of the bad event in it, and its attributes."""
        usage = {"input_tokens": 1, "output_tokens": 1}
        good = {"type": "UsageRecorded", "timestamp": self._now(), "usage": usage}
        match kind:
            case "malformed event":
                bad: dict[str, Any] = {"type": "UsageRecorded", "timestamp": self._now(), "usage": "bad"}
            case "only new" | "deadly":
                bad = {"type": "RunFailed", "timestamp": self._now(), "error": _ERRORS[kind]}
            case "no JSON":
                return 2, 0, {"events": {"S": "[{"}}
            case "wrong count":
                return 3, 0, {"events": {"S": json.dumps([good, good])}}
            case "no zlib":
                return 1, 0, {"events": {"B": b"bad"}}
            case _:
                return 1, 0, {}
        events = [good] * self._random.randrange(3) + [bad, good]
        return len(events), len(events) - 2, {"events": {"S": json.dumps(events)}}
