"""``ncclprobe env lint`` and ``ncclprobe env explain``."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import click
import msgspec

from ncclprobe.cli.colour import painted
from ncclprobe.cli.verbosity import is_quiet, verbosity_options
from ncclprobe.control import visible
from ncclprobe.errors import UsageError
from ncclprobe.findings import Finding, Severity, has_error
from ncclprobe.reading import whole_file
from ncclprobe.records.base import Document
from ncclprobe.records.lint import ExplainDocument, LintDocument, LintedSetting
from ncclprobe.records.scan import ScanDocument
from ncclprobe.report.text.lint import explain_text, lint_text, lint_verdict
from ncclprobe.scan.check_script import check_settings
from ncclprobe.secrecy import kept_json, without_secrets
from ncclprobe.store import read_document
from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.explain import explained
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.lint_case import Case
from ncclprobe.tuner.script import Script
from ncclprobe.tuner.script_text import environment_script, read_script
from ncclprobe.tuner.variables import release

Kind = TypeVar("Kind", bound=Document)


@click.command("lint")
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=pathlib.Path))
@click.option("--environ", is_flag=True, help="Check this process's own environment too.")
@click.option("--scan", type=click.Path(exists=True, path_type=pathlib.Path), help="A scan of the nodes that run it.")
@click.option("--nccl-version", default="", metavar="VERSION", help="The NCCL that will read it, such as 2.27.3.")
@click.option("--strict", is_flag=True, help="End with status 3 upon warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
@verbosity_options
def lint_command(
    files: tuple[pathlib.Path, ...],
    scan: pathlib.Path | None,
    nccl_version: str,
    *,
    environ: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Check the NCCL and SGLang variables that each FILE sets.

    FILE is a shell or job script (Slurm, PBS), a Dockerfile, nccl.conf, a file of NAME=VALUE lines, a manifest in YAML
    or JSON, TOML, a makefile or a unit of systemd; - is standard input. It is read, never run.
    """
    scripts = _scripts(files, environ)
    if nccl_version and not release(nccl_version):
        raise UsageError(f"--nccl-version {nccl_version} is no version; write one such as 2.27.3")
    hosts = None if scan is None else read_document(scan, (ScanDocument,))
    assert hosts is None or isinstance(hosts, ScanDocument)  # noqa: S101 - read_document returns one of the given types
    document = LintDocument(
        sources=tuple(script.source for script in scripts),
        nccl_version=nccl_version or None,
        settings=tuple(setting for script in scripts for setting in _settings(script)),
        findings=tuple(finding for script in scripts for finding in _findings(script, nccl_version, hosts)),
    )
    _print(document, lint_text, lint_verdict, as_json=as_json)
    doubtful = strict and any(finding.severity is not Severity.INFO for finding in document.findings)
    return 3 if doubtful or has_error(document.findings) else 0


def _known_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the variables that begin so, for a shell that completes them."""
    known = catalog()
    return sorted(name for name in (*known.nccl, *known.sglang) if name.startswith(incomplete.upper()))


@click.command("explain")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_known_names)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
@verbosity_options
def explain_command(names: tuple[str, ...], *, as_json: bool) -> int:
    """Say what each variable NAME does, since when, with which values, and what counts instead of it."""
    document = ExplainDocument(variables=tuple(explained(name, catalog()) for name in names))
    _print(document, explain_text, explain_text, as_json=as_json)
    return 0 if all(variable.known for variable in document.variables) else UsageError.exit_status


def _scripts(files: Sequence[pathlib.Path], environ: bool) -> list[Script]:
    if not files and not environ:
        raise UsageError("name a file to check, - for standard input, or --environ")
    scripts = [read_script(_text(path), str(path)) for path in files]
    return [*scripts, environment_script(os.environ, "environment")] if environ else scripts


def _text(path: pathlib.Path) -> str:
    try:
        return whole_file(path).decode("utf-8", "replace")
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror}; name a file") from problem


def _settings(script: Script) -> list[LintedSetting]:
    return [
        LintedSetting(source=script.source, line=one.line or None, name=one.name, value=one.value, how=one.how)
        for part in script.parts()
        for one in Case(part, catalog(), "").relevant()
    ]


def _findings(script: Script, version: str, scan: ScanDocument | None) -> list[Finding]:
    found = lint(script, catalog(), version)
    if scan is None:
        return list(found)
    seen = [
        _placed(finding, script.subject(setting.line))
        for part in script.parts()
        for setting in part.settings
        if setting.value
        for finding in check_settings(setting.name, setting.value, scan.hosts)
    ]
    return [*(finding for finding in found if finding.code != "ib-hca-prefix"), *seen]  # the scan knows the names


def _placed(finding: Finding, subject: str) -> Finding:
    """Return a finding about nodes as one about a line."""
    nodes = finding.subject.partition("/")[0]
    return msgspec.structs.replace(finding, subject=subject, message=f"On {nodes}: {finding.message}")


def _print(document: Kind, text: Callable[[Kind], str], verdict: Callable[[Kind], str], *, as_json: bool) -> None:
    if as_json:
        click.echo(kept_json(document).decode())
    else:
        click.echo(painted(visible(without_secrets((verdict if is_quiet() else text)(document)))))
