"""Agents that are instrumented with OpenTelemetry, recorded; and recorded runs as OpenTelemetry spans.

- `BehestSpanProcessor` records what the spans of an instrumented agent tell, by OpenTelemetry's conventions for GenAI or by
  OpenInference's. recording.py has its rules.
- `spans_of` gives any recorded run as spans by the conventions for GenAI, for any exporter. `behest otel RUN` writes them, or
  sends them to an OTLP endpoint.
"""

from behest_otel.exporting import spans_of
from behest_otel.recording import BehestSpanProcessor

__all__ = ["BehestSpanProcessor", "spans_of"]
