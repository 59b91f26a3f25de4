"""What commands print, and how much of it is kept."""

from __future__ import annotations

import pytest

from ncclprobe import outputs, processes


@pytest.mark.parametrize("where", ["", " >&2"])
def test_a_command_that_prints_for_ever_is_ended_by_what_it_printed(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(outputs, "MOST_BYTES", 1 << 20)
    ended = processes.run(["sh", "-c", f"exec yes{where}"], timeout_s=60)
    assert (ended.returncode, ended.stdout, ended.timed_out) == (-9, "", False)
    assert ended.stderr == "sh was ended: it printed over 1 MiB"


def test_output_and_errors_are_told_apart_and_kept_to_their_ends() -> None:
    ended = processes.run(["sh", "-c", "seq 200000; seq 100000 >&2; exit 3"], timeout_s=60)
    assert ended.stdout.split() == [str(number) for number in range(1, 200_001)]
    assert ended.stderr.split() == [str(number) for number in range(1, 100_001)]
    assert ended.returncode == 3


def test_a_command_that_closes_its_output_is_waited_for() -> None:
    assert processes.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4"], timeout_s=60).returncode == 4
    assert processes.run(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout_s=0.3).timed_out


def test_what_was_printed_before_a_command_took_too_long_is_kept() -> None:
    ended = processes.run(["sh", "-c", "echo here; exec sleep 60"], timeout_s=1)
    assert (ended.stdout, ended.timed_out) == ("here\n", True)
