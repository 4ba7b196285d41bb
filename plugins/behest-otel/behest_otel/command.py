"""`behest otel`: a recorded run as OpenTelemetry spans."""

from typing import Annotated, Any

import typer

from behest_core.cli.extending import CommandError, Stack, say, store_of, write_json
from behest_core.model.limits import check_run_id
from behest_otel.exporting import spans_of


def export_spans(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids.", show_default=False)],
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send them to an OTLP endpoint, such as http://localhost:4318/v1/traces."),
    ] = None,
    stack: Stack = None,
) -> None:
    """Write runs as OpenTelemetry spans, one line of JSON each; or send them with --endpoint.

    Headers, such as a key, are those of OTEL_EXPORTER_OTLP_HEADERS.
    """
    store = store_of(stack)
    exporter = None if endpoint is None else _exporter(endpoint)
    for run_id in dict.fromkeys(runs):
        record, events = store.event_log.whole(check_run_id(run_id))
        if record is None:
            record = store.get_record(run_id)  # raises what is to be said of a run that has none
        spans = spans_of(record, (each.event for each in events))
        if exporter is None:
            for span in spans:
                write_json(_as_json(span))
        elif exporter.export(spans).name != "SUCCESS":
            raise CommandError(f"{endpoint} did not take the spans of run {run_id}; see what it logs")
        else:
            say(f"run {run_id}: {len(spans)} spans sent")


def _exporter(endpoint: str) -> Any:  # noqa: ANN401 (of a package that may not be there)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ImportError:
        raise CommandError("--endpoint needs: pip install 'behest-otel[otlp]'") from None
    return OTLPSpanExporter(endpoint=endpoint)


def _as_json(span: Any) -> dict[str, Any]:  # noqa: ANN401 (OpenTelemetry's span)
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": None if span.parent is None else f"{span.parent.span_id:016x}",
        "name": span.name,
        "kind": span.kind.name,
        "start_time_unix_nano": span.start_time,
        "end_time_unix_nano": span.end_time,
        "status": span.status.status_code.name,
        "status_message": span.status.description,
        "attributes": dict(span.attributes or {}),
    }
