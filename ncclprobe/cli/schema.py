"""``ncclprobe schema``: print a document's JSON Schema."""

from __future__ import annotations

import importlib
import json
from typing import Any

import click
import msgspec

from ncclprobe.cli.verbosity import verbosity_options

DOCUMENTS = {
    "scan": "ncclprobe.records.scan:ScanDocument",
    "sweep": "ncclprobe.records.sweep:SweepDocument",
    "nodes": "ncclprobe.records.nodes:NodesDocument",
    "inspect": "ncclprobe.records.inspect:InspectDocument",
    "profile": "ncclprobe.records.profile:ProfileDocument",
    "env": "ncclprobe.records.env:EnvDocument",
    "env-check": "ncclprobe.records.check:EnvCheckDocument",
    "env-lint": "ncclprobe.records.lint:LintDocument",
    "env-explain": "ncclprobe.records.lint:ExplainDocument",
    "validate-e2e": "ncclprobe.records.e2e:E2eDocument",
    "report": "ncclprobe.records.report:ReportDocument",
    "tune": "ncclprobe.records.tune:TuneDocument",
    "watch": "ncclprobe.records.watch:WatchDocument",
}
"""Command -> the type of its document."""


@click.command("schema")
@click.argument("name", metavar="COMMAND", type=click.Choice(list(DOCUMENTS)))
@verbosity_options
def command(name: str) -> int:
    """Print the JSON Schema of what COMMAND prints with --json."""
    click.echo(json.dumps(document_schema(name), indent=1))
    return 0


def document_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a command's document."""
    module, _, kind = DOCUMENTS[name].partition(":")
    schema = msgspec.json.schema(getattr(importlib.import_module(module), kind))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
