"""CloudFormation's template language, as far as template.yaml uses it for tables, functions and stream mappings.

Parameters with their defaults, pseudo parameters, ``Ref``, ``Fn::GetAtt``, ``Fn::Sub``, ``Fn::Join``, and ``Fn::If`` with
conditions of ``Fn::Equals``, ``Fn::Not``, ``Fn::And`` and ``Fn::Or``. Another function is refused by name, never passed over.

Names: a resource without a name of its own is called STACK-LOGICALID; CloudFormation would add random letters. What SAM makes of
an event that calls a function is called FUNCTIONEVENT there, and a UUID by Lambda.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import NAMESPACE_URL, uuid5

import yaml

from behest_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Node: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"
Section: TypeAlias = "dict[str, Node]"
ParameterValue: TypeAlias = "str | int | float"

REGION = "us-east-1"
ACCOUNT_ID = "123456789012"
"""moto's account."""

_NO_VALUE = object()
_NAMES = ("FunctionName", "QueueName", "TableName")


class TemplateError(ConfigurationError):
    """A template isn't there, or holds something that can't be read here."""


@dataclass(slots=True)
class CloudFormationTemplate:
    """A parsed template, for a stack's name and a choice of parameters."""

    path: Path
    body: Section
    stack_name: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Values that replace the defaults."""

    @classmethod
    def load(cls, path: Path, stack_name: str, parameters: Mapping[str, ParameterValue]) -> CloudFormationTemplate:
        """Read a template.

        Raises:
            TemplateError: it isn't there, isn't a template, or has no parameter of a name given.
        """
        try:
            body = deepcopy(_parse(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise TemplateError(f"can't read the template {path}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise TemplateError(f"{path} isn't a template: {error}") from error
        if not isinstance(body, dict) or not isinstance(body.get("Resources"), dict):
            raise TemplateError(f"{path} isn't a template: it has no Resources")
        template = cls(path, body, stack_name, parameters)
        for name in parameters:
            if name not in template.section("Parameters"):
                raise TemplateError(f"{path} has no parameter {name}")
        return template

    def section(self, name: str) -> Section:
        """A top-level section, empty where the template has none."""
        return cast("Section", self.body.get(name) or {})

    def resources(self, kind: str) -> dict[str, Section]:
        """The properties, unresolved, of all resources of a type, by logical id."""
        found = {}
        for logical_id, resource in self.section("Resources").items():
            if isinstance(resource, dict) and resource.get("Type") == kind:
                found[logical_id] = cast("Section", resource.get("Properties") or {})
        return found

    def resolve(self, node: Node) -> Node:
        """A value with all functions in it computed.

        Raises:
            TemplateError: a function that isn't known here, or a name that is nowhere defined.
        """
        return cast("Node", self._resolve(node))

    def _resolve(self, node: Node) -> object:
        if isinstance(node, list):
            return [value for inner in node if (value := self._resolve(inner)) is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name)(argument)
        resolved = {key: self._resolve(inner) for key, inner in node.items()}
        return {key: value for key, value in resolved.items() if value is not _NO_VALUE}

    def _function(self, name: str) -> Callable[[Node], object]:
        functions: dict[str, Callable[[Node], object]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::If": self._if,
        }
        if name not in functions:
            raise TemplateError(f"{self.path} uses {name}, which can't be computed here")
        return functions[name]

    def _ref(self, name: Node) -> object:
        pseudo: dict[str, object] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": _NO_VALUE,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackName": self.stack_name,
            "AWS::URLSuffix": "amazonaws.com",
        }
        name = str(name)
        if name in pseudo:
            return pseudo[name]
        if name in self.section("Parameters"):
            return self._parameter(name)
        return self.physical_name(name)

    def _parameter(self, name: str) -> ParameterValue:
        if name in self.parameters:
            return self.parameters[name]
        declared = cast("Section", self.section("Parameters")[name])
        if "Default" not in declared:
            raise TemplateError(f"the parameter {name} of {self.path} has no default: give a value")
        return cast("ParameterValue", declared["Default"])

    def physical_name(self, logical_id: str) -> str:
        """Return what a resource is called in its stack."""
        if logical_id in self._events():
            return str(uuid5(NAMESPACE_URL, f"{self.stack_name}-{logical_id}"))
        resource = self.section("Resources").get(logical_id)
        if not isinstance(resource, dict):
            raise TemplateError(f"{self.path} has no parameter and no resource {logical_id}")
        properties = resource.get("Properties")
        if isinstance(properties, dict):
            for name in _NAMES:
                if name in properties:
                    return str(self._resolve(properties[name]))
        return f"{self.stack_name}-{logical_id}"

    def _events(self) -> set[str]:
        """Return the logical ids that SAM gives to what connects events with functions: FUNCTIONEVENT."""
        functions = self.resources("AWS::Serverless::Function")
        return {
            f"{function}{event}"
            for function, its in functions.items()
            for event in cast("Section", its.get("Events", {}))
        }

    def _get_att(self, argument: Node) -> str:
        logical_id, attribute = attribute_of(argument)
        return f"{self.physical_name(logical_id)}.{attribute}"

    def _sub(self, argument: Node) -> str:
        text, variables = argument if isinstance(argument, list) else (argument, {})
        values = cast("dict[str, object]", self._resolve(variables))

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in values:
                return str(values[name])
            return str(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, str(text))

    def _join(self, argument: Node) -> str:
        separator, parts = cast("list[Node]", argument)
        return str(separator).join(str(part) for part in cast("list[object]", self._resolve(parts)))

    def _if(self, argument: Node) -> object:
        name, then, otherwise = cast("list[Node]", argument)
        condition = self.section("Conditions").get(str(name))
        if condition is None:
            raise TemplateError(f"{self.path} has no condition {name}")
        return self._resolve(then if self._holds(condition) else otherwise)

    def _holds(self, condition: Node) -> bool:
        name, argument = next(iter(cast("Section", condition).items()))
        if name == "Condition":
            return self._holds(self.section("Conditions")[str(argument)])
        arguments = cast("list[Node]", argument)
        if name == "Fn::Equals":
            left, right = (str(self._resolve(side)) for side in arguments)
            return left == right
        if name == "Fn::Not":
            return not self._holds(arguments[0])
        if name in ("Fn::And", "Fn::Or"):
            return (all if name == "Fn::And" else any)(self._holds(part) for part in arguments)
        raise TemplateError(f"{self.path} uses {name} in a condition, which can't be computed here")


def attribute_of(node: Node) -> tuple[str, str]:
    """The logical id and the attribute that a ``Fn::GetAtt`` names."""
    if isinstance(node, dict):
        node = node.get("Fn::GetAtt")
    if isinstance(node, str) and "." in node:
        logical_id, attribute = node.split(".", 1)
        return logical_id, attribute
    if isinstance(node, list) and len(node) == 2:
        return str(node[0]), str(node[1])
    raise TemplateError(f"expected !GetAtt RESOURCE.ATTRIBUTE, found {node!r}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!Ref X`` is ``{"Ref": "X"}``, ``!Sub X`` is ``{"Fn::Sub": "X"}``."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Section:
    value: Node
    if isinstance(node, yaml.MappingNode):
        value = cast("Node", loader.construct_mapping(node, deep=True))
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = cast("Node", loader.construct_scalar(cast("yaml.ScalarNode", node)))
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
# A date such as AWSTemplateFormatVersion stays text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@lru_cache(maxsize=4)
def _parse(text: str) -> object:
    """Parse a template once: it takes longer than all else that a local stack does to start."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
