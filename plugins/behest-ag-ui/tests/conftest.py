"""What the tests here share."""

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]
