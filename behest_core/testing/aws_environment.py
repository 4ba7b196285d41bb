"""The environment variables that AWS's libraries read, while the stack is on this machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from behest_core.testing.cloudformation import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS_ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def is_of_aws(name: str) -> bool:
    """Return whether a variable of the environment is for AWS's libraries, or set by Lambda."""
    return name.startswith(("AWS_", "LAMBDA_"))


@contextmanager
def environment_of(variables: dict[str, str]) -> Iterator[None]:
    """Set variables, put aside all others of AWS, and put everything back in the end."""
    before = {name: os.environ.get(name) for name in variables.keys() | set(filter(is_of_aws, os.environ))}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
