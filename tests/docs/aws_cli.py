"""The AWS CLI, as far as the documentation's commands need it: `aws dynamodb OPERATION --option value …`, done with boto3.

Which options an operation has, and of which type they are, is botocore's own knowledge, which the AWS CLI uses too. Of the
CLI's own options there is `--query`.
"""

from __future__ import annotations

import json
import os
import shlex
import string
from typing import TYPE_CHECKING, Any

import jmespath
from botocore import xform_name

if TYPE_CHECKING:
    from botocore.model import Shape
    from mypy_boto3_dynamodb import DynamoDBClient


def commands(shell: str) -> list[str]:
    """Return the commands of a shell block, each on one line, those of other programs left out."""
    joined, quoted = [], False
    for line in shell.replace("\\\n", " ").splitlines():
        if quoted:
            joined[-1] += f"\n{line}"
        else:
            joined.append(line)
        quoted = joined[-1].count("'") % 2 == 1
    return [command for command in joined if command.startswith("aws dynamodb ")]


def perform(client: DynamoDBClient, command: str) -> Any:
    """Do what the command says, and return what it would print, as JSON's values."""
    _, _, operation, *words = shlex.split(string.Template(command).substitute(os.environ))
    method = operation.replace("-", "_")
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
    assert shape is not None
    members = {f"--{xform_name(name, '-')}": (name, member) for name, member in shape.members.items()}
    request: dict[str, Any] = {}
    query = None
    while words:
        option = words.pop(0)
        if option == "--query":
            query = words.pop(0)
        elif option.startswith("--no-"):
            name, _ = members[f"--{option.removeprefix('--no-')}"]
            request[name] = False
        else:
            name, member = members[option]
            request[name] = True if member.type_name == "boolean" else _value(member, words.pop(0))
    answer = getattr(client, method)(**request)
    del answer["ResponseMetadata"]
    return jmespath.search(query, answer) if query else answer


def _value(shape: Shape, text: str) -> Any:
    match shape.type_name:
        case "string":
            return text
        case "integer" | "long":
            return int(text)
        case _:
            return json.loads(text)
