"""DynamoDB's expressions, as far as behest writes them. What isn't understood is refused loudly, never passed over.

condition   = and { "OR" and }
and         = not { "AND" not }
not         = "NOT" not | "(" condition ")" | function "(" name ")" | operand comparison operand
            | operand "BETWEEN" operand "AND" operand
operand     = name | ":value"
name        = word | "#word"
function    = "attribute_exists" | "attribute_not_exists"
projection  = name { "," name }
"""

from __future__ import annotations

import operator
import re
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.contract.fake.attributes import sort_value
from tests.contract.fake.faults import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(r"\s*(?:([#:]?[A-Za-z_][A-Za-z0-9_]*)|(<>|<=|>=|[=<>(),]))")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FUNCTIONS = {"attribute_exists", "attribute_not_exists"}


class InvalidExpressionError(Exception):
    """DynamoDB refuses the expression. The text is its message."""


class Name(NamedTuple):
    text: str


class Value(NamedTuple):
    text: str


class Node(NamedTuple):
    """A part of a condition: an operator of the grammar and what it is applied to."""

    operator: str
    operands: tuple[Any, ...]


class Expression(NamedTuple):
    """A parsed expression, with the placeholders it uses."""

    root: Any
    names: frozenset[str]
    values: frozenset[str]


@cache
def reserved_words() -> frozenset[str]:
    """Return the words that can't stand for themselves in an expression ("Reserved words"), as moto lists them."""
    moto = find_spec("moto")  # not imported: that takes longer than many a test
    assert moto is not None
    assert moto.origin is not None
    words = Path(moto.origin).with_name("dynamodb") / "parsing" / "reserved_keywords.txt"
    return frozenset(words.read_text(encoding="utf-8").split())


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens(text)
        self.names: set[str] = set()
        self.values: set[str] = set()

    def _tokens(self, text: str) -> list[str]:
        tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise UnsupportedRequestError(f"expression {self.text!r} at {text[at:]!r}")
            tokens.append(match[1] or match[2])
            at = match.end()
        return tokens[::-1]

    def next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def take(self) -> str:
        if not self.tokens:
            raise InvalidExpressionError(f"Syntax error; expression ends too early: {self.text}")
        return self.tokens.pop()

    def is_word(self, word: str) -> bool:
        return self.next().upper() == word

    def expect(self, token: str) -> None:
        found = self.take()
        if found.upper() != token:
            raise InvalidExpressionError(f"Syntax error; token: {found!r}, expected {token!r}: {self.text}")

    def chain(self, word: str, part: Callable[[], Any]) -> Any:
        parts = [part()]
        while self.is_word(word):
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Node(word, tuple(parts))

    def condition(self) -> Any:
        return self.chain("OR", lambda: self.chain("AND", self.negation))

    def negation(self) -> Any:
        if self.is_word("NOT"):
            self.take()
            return Node("NOT", (self.negation(),))
        if self.next() == "(":
            self.take()
            inner = self.condition()
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Any:
        if len(self.tokens) > 1 and self.tokens[-2] == "(":
            return self.function()
        left = self.operand()
        if self.is_word("BETWEEN"):
            self.take()
            low = self.operand()
            self.expect("AND")
            return Node("BETWEEN", (left, low, self.operand()))
        comparison = self.take()
        if comparison not in _COMPARISONS:
            raise UnsupportedRequestError(f"operator {comparison} in {self.text!r}")
        return Node(comparison, (left, self.operand()))

    def function(self) -> Any:
        function = self.take()
        if function not in _FUNCTIONS:
            raise UnsupportedRequestError(f"function {function} in {self.text!r}")
        self.expect("(")
        name = self.operand()
        self.expect(")")
        return Node(function, (name,))

    def operand(self) -> Name | Value:
        token = self.take()
        if token.startswith(":"):
            self.values.add(token)
            return Value(token)
        if token.startswith("#"):
            self.names.add(token)
        elif token.upper() in reserved_words():
            raise InvalidExpressionError(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return Name(token)

    def projection(self) -> list[Name | Value]:
        found = [self.operand()]
        while self.next() == ",":
            self.take()
            found.append(self.operand())
        return found

    def parsed(self, root: Any) -> Expression:
        if self.tokens:
            raise InvalidExpressionError(f"Syntax error; token: {self.next()!r}: {self.text}")
        return Expression(root, frozenset(self.names), frozenset(self.values))


@lru_cache(maxsize=256)
def parse_condition(text: str) -> Expression:
    parser = _Parser(text)
    return parser.parsed(parser.condition())


@lru_cache(maxsize=256)
def parse_projection(text: str) -> Expression:
    parser = _Parser(text)
    return parser.parsed(parser.projection())


def check_placeholders(request: Mapping[str, Any], *expressions: Expression | None) -> None:
    """Raise unless each placeholder that is used is given, and each given is used."""
    parsed = [each for each in expressions if each is not None]
    names, values = (frozenset[str]().union(*(each[at] for each in parsed)) for at in (1, 2))
    for kind, used in (("Names", names), ("Values", values)):
        defined = request.get(f"ExpressionAttribute{kind}", {}).keys()
        if used == defined:
            continue
        if missing := used - defined:
            raise InvalidExpressionError(f"An expression attribute is not defined: {sorted(missing)}")
        raise InvalidExpressionError(
            f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {sorted(defined - used)}"
        )


def name_of(operand: Name, request: Mapping[str, Any]) -> str:
    return request["ExpressionAttributeNames"][operand.text] if operand.text.startswith("#") else operand.text


def holds(node: Any, item: Mapping[str, Any] | None, request: Mapping[str, Any]) -> bool:
    """Return whether a condition holds for an item, None where there is none."""
    match node.operator:
        case "AND":
            return all(holds(part, item, request) for part in node.operands)
        case "OR":
            return any(holds(part, item, request) for part in node.operands)
        case "NOT":
            return not holds(node.operands[0], item, request)
        case "attribute_exists" | "attribute_not_exists":
            exists = name_of(node.operands[0], request) in (item or {})
            return exists == (node.operator == "attribute_exists")
    operands = [_value(operand, item or {}, request) for operand in node.operands]
    if node.operator == "BETWEEN":
        value, low, high = operands
        return _compare("<=", low, value) and _compare("<=", value, high)
    return _compare(node.operator, *operands)


def _value(operand: Name | Value, item: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(operand, Value):
        return request["ExpressionAttributeValues"][operand.text]
    return item.get(name_of(operand, request))


def _compare(comparison: str, left: dict[str, Any] | None, right: dict[str, Any] | None) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return comparison == "<>"
    if left.keys() & {"S", "N"}:
        return _COMPARISONS[comparison](sort_value(left), sort_value(right))
    if comparison not in {"=", "<>"}:
        raise UnsupportedRequestError(f"comparing {left} {comparison} {right}")
    return _COMPARISONS[comparison](left, right)
