"""``schema``: every document has one, and it is true of what the commands print."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest

from ncclprobe.cli import COMMANDS, main
from ncclprobe.cli.output import drawn_seed, finish
from ncclprobe.cli.schema import DOCUMENTS, document_schema
from ncclprobe.findings import error, info, warning
from ncclprobe.records.scan import ScanDocument


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 0
    loaded = json.loads(capsys.readouterr().out)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_has_a_valid_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema = printed(capsys, "schema", name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json.loads(json.dumps(document_schema(name)))
    definition = schema["$defs"][str(schema["$ref"]).rpartition("/")[2]]  # type: ignore[index]
    assert definition["properties"]["schema"]["default"] == f"ncclprobe.{name}/1"
    assert {"schema", "version", "created", "findings"} <= set(definition["properties"])


def test_every_command_that_prints_json_has_a_document() -> None:
    assert set(COMMANDS) - set(DOCUMENTS) == {"schema", "completion"}


def test_a_document_validates_and_a_broken_one_does_not() -> None:
    document = ScanDocument(findings=(info("port-down", "mlx5_0:1", "It is down.", "Look at the cable."),))
    content = json.loads(msgspec.json.encode(document))
    schema = document_schema("scan")
    jsonschema.validate(content, schema)
    content["findings"][0]["severity"] = "dreadful"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ((), 0),
        ((info("a-b", "", "", ""), warning("a-b", "", "", "")), 0),
        ((info("a-b", "", "", ""), error("a-b", "", "", "")), 3),
    ],
)
def test_an_error_level_finding_makes_the_status_3(
    findings: tuple[object, ...], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    document = ScanDocument(findings=findings)  # type: ignore[arg-type]
    assert finish(document, lambda: "text", as_json=False) == status
    assert capsys.readouterr().out.startswith("text\n\nNext: ")
    assert finish(document, pytest.fail, as_json=True) == status
    assert msgspec.json.decode(capsys.readouterr().out, type=ScanDocument) == document


def test_a_seed_is_kept_or_drawn() -> None:
    assert drawn_seed(7) == 7
    assert 0 <= drawn_seed(None) < 2**31
