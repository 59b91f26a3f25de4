"""A clock that jumps by a day, forth and back, while a sweep and a watch run: only monotonic time decides anything."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
from fault_runs import SWEEP, Run, lines

COMPILER = shutil.which("cc")
JUMPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *found) {
  static int (*real)(clockid_t, struct timespec *);
  static unsigned calls;
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int status = real(clock, found);
  if (clock == CLOCK_REALTIME) found->tv_sec += (calls++ % 3 - 1) * 86400;
  return status;
}
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a library before which the C library's wall clock jumps at each look."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(JUMPING)
    output = str(folder / "clock.so")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", output, str(folder / "clock.c"), "-ldl"], check=True)
    return output


@pytest.mark.mpi
def test_a_sweep_keeps_to_its_budget(tmp_path: pathlib.Path, jumping: str) -> None:
    with Run(tmp_path, *SWEEP, "--budget", "2", LD_PRELOAD=jumping) as run:
        ended = run.ended()
    assert ended.status == 0, ended.stderr
    assert all(0 <= line["seconds"] < 60 for line in lines(run.out, "launch-end"))
    assert not [found for found in ended.document["findings"] if found["severity"] == "error"]


def test_a_watch_keeps_to_its_schedule(tmp_path: pathlib.Path, jumping: str) -> None:
    with Run(tmp_path, "watch", "--every", "1s", "--count", "2", "--", "scan", LD_PRELOAD=jumping) as run:
        ended = run.ended()
    assert [check["status"] for check in ended.document["checks"]] == ["done", "done"], ended.stderr
    assert all(0 <= check["seconds"] < 60 for check in ended.document["checks"])
