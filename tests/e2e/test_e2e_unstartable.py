"""Programs that are there and cannot be started."""

import pathlib

import pytest
from click.testing import CliRunner

from ncclprobe import processes
from ncclprobe.cli import group
from ncclprobe.errors import LaunchError, MissingDependencyError

PLAN = ("--metric", "v=(.*)", "--trials", "1", "--warmup", "0", "--telemetry", "0")
NAMES_NONE = "it is neither a program of this machine's kind nor a script whose first line begins with #!"


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def command(out, *tokens, candidate="A=1"):
    words = ["validate-e2e", "--workload", "command", "--candidate", candidate, *PLAN, "--out", out, "--", *tokens]
    return CliRunner().invoke(group, [*map(str, words)], standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("echo v=1\n", LaunchError, f"cannot start '{{path}}': {NAMES_NONE}"),
        (
            "#! /no/such/interp -x\necho v=1\n",
            MissingDependencyError,
            "{path} is there, but its interpreter '/no/such/interp', which its first line names, is not; install that, "
            "or mend the file",
        ),
    ],
)
def test_a_program_that_cannot_be_started_leaves_its_folder_to_the_mended_one(tmp_path, text, error, said):
    path, out = script(tmp_path / "bench", text), tmp_path / "run"
    refused = command(out, path)
    assert isinstance(refused.exception, error)
    assert str(refused.exception) == said.format(path=path)
    assert not out.exists()
    script(path, "#!/bin/sh\necho v=1\n")
    assert command(out, path).exception is None


def test_a_folder_with_other_files_keeps_them(tmp_path):
    (tmp_path / "notes").write_text("mine")
    assert command(tmp_path, script(tmp_path / "bench", "echo")).exception is not None
    assert {path.name for path in tmp_path.iterdir()} == {"notes", "bench"}


def test_what_was_measured_before_is_kept(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    script(tmp_path / "good/bench", "#!/bin/sh\necho v=1\n")
    script(tmp_path / "bad/bench", "#!/no/such/interp\n")
    path = f"PATH={tmp_path}/good:/bin:/usr/bin"
    words = ["validate-e2e", "--workload", "command", "--baseline", path, "--candidate", f"PATH={tmp_path}/bad", *PLAN]
    kept = []
    for seed in range(4):
        out = tmp_path / f"run{seed}"
        here = [*words, "--seed", str(seed), "--out", str(out), "--", "bench"]
        assert CliRunner().invoke(group, here, standalone_mode=False).exception is not None
        kept.append(out.exists())
        assert not out.exists() or '"kind":"trial"' in (out / "journal.jsonl").read_text()
    assert {*kept} == {True, False}


def test_an_absent_program_is_still_called_absent():
    with pytest.raises(MissingDependencyError, match="'no-such-program' is not installed or not on PATH"):
        processes.run(["no-such-program"], timeout_s=5)


def test_a_loader_that_is_absent_is_said(tmp_path):
    broken = script(tmp_path / "broken", "")
    content = bytearray(pathlib.Path("/bin/true").read_bytes())
    place = content.find(b"/lib64/ld-linux")
    if place < 0:
        pytest.skip("this machine's programs have another loader")
    content[place : place + 6] = b"/lib65"
    broken.write_bytes(content)
    with pytest.raises(MissingDependencyError, match="broken is there, but its interpreter or loader is not"):
        processes.run([str(broken)], timeout_s=5)
