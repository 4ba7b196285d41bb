"""Whether Lambda calls the functions that read streams.

A mapping that is disabled shows in no metric of AWS's own: they stop, as they do when nobody writes. So it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_lambda import LambdaClient

GONE: Final = "Gone"
_CALLING: Final = frozenset({"Creating", "Enabling", "Enabled", "Updating"})


def idle_mappings(client: LambdaClient, uuids: Iterable[str]) -> dict[str, str]:
    """Return the event source mappings that don't call their function, each with its state: Lambda's own word, or `Gone`.

    Raises ClientError where Lambda doesn't say.
    """
    states = {uuid: _state_of(client, uuid) for uuid in uuids}
    return {uuid: state for uuid, state in states.items() if state not in _CALLING}


def _state_of(client: LambdaClient, uuid: str) -> str:
    try:
        return client.get_event_source_mapping(UUID=uuid)["State"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return GONE
