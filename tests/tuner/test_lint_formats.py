"""Files of other kinds than scripts: what they set is read by their own rules, not by a shell's."""

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script_text import read_script


def codes(text, source, version=""):
    found = lint(read_script(text, source), catalog(), version)
    return [(int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in found]


def settings(text, source):
    script = read_script(text, source)
    return [(one.name, one.value, one.line) for part in script.parts() for one in part.settings]


# ---- Dockerfiles


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nENV NCCL_DEBUG=WARN \\\n    # RoCE v2\n    NCCL_IB_GID_INDEX=3 \\\n\n    NCCL_IB_TC=106\nRUN make\n",
        "FROM a AS debug\nENV NCCL_DEBUG=INFO\nFROM a AS release\nENV NCCL_DEBUG=WARN\nCMD torchrun\n",
        "FROM a\nENV NCCL_IB_DISABLE=1\nFROM a\nENV NCCL_IB_HCA==mlx5_0\n",
        "FROM a\nENV NCCL_ALGO=ring;allreduce:tree NCCL_SOCKET_IFNAME=\"eth0,eth1\" NCCL_DEBUG='WARN'\n",
        "FROM a\nARG DEBUG=nonsense\nENV NCCL_DEBUG=$DEBUG NCCL_DEBUG_FILE=/tmp/${HOSTNAME:-x}\n",
        "FROM a\nRUN export NCCL_DEBUG=INFO && ./all_reduce_perf\nRUN NCCL_DEBUG=WARN python x.py\n",
        "FROM a\nRUN <<EOF\nexport NCCL_DEBUG=INFO\n./train\nEOF\nCMD [\"torchrun\", \"x.py\"]\n",
        "FROM a\nRUN export NCCL_DEBUG=INFO; echo \"export NCCL_DEBUG=$NCCL_DEBUG\" > /etc/profile.d/nccl.sh\n",
        "FROM a\nCOPY <<EOF /etc/nccl.conf\nNCCL_DEBUG=WARN\nEOF\nENV NCCL_CROSS_NIC=1\n",
        "from a\nenv NCCL_DEBUG WARN\nrun --mount=type=cache,target=/x pip install \\\n  # why\n  sglang\n",
        'FROM a\nENTRYPOINT ["mpirun", "-x", "NCCL_IB_HCA==mlx5_0", "./a"]\n',
    ],
)  # fmt: skip
def test_a_clean_dockerfile_gets_no_finding(text):
    assert codes(text, "Dockerfile") == []
    assert codes(f"# syntax=docker/dockerfile:1\n{text}", "-") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV A=1 \\\n  # why\n  NCCL_DEBUG=loud\n", [(4, "error", "value-invalid")]),
        ("ENV A=1 \\\n\\\nNCCL_DEBUG=loud\n", [(4, "error", "value-invalid")]),
        ('ENV A="1 \\\n 2" NCCL_DEBUG=loud\n', [(3, "error", "value-invalid")]),
        ("ENV NCCL_DEBUG loud\n", [(2, "error", "value-invalid")]),
        ("ENV OFF=yes\nENV NCCL_IB_DISABLE=${OFF}\n", [(3, "error", "value-invalid")]),
        ("ENV NCCL_DEBUG=INFO\nENV NCCL_DEBUG=WARN\n", [(2, "warning", "setting-overridden")]),
        ("ENV NCCL_IB_DISABLE=1 \\\n NCCL_IB_HCA==mlx5_0\n", [(3, "warning", "settings-contradict")]),
        ("RUN export NCCL_DEBUG=INFO\n", [(2, "warning", "variable-not-exported")]),
        ("RUN make && export NCCL_DEBUG=INFO\n", [(2, "warning", "variable-not-exported")]),
        ('RUN echo "NCCL_IB_TIMEOUT=50" >> /etc/nccl.conf\n', [(2, "warning", "value-out-of-range")]),
        ("RUN NCCL_DEBUG=loud ./a\n", [(2, "error", "value-invalid")]),
        ("RUN --mount=type=cache,target=/x NCCL_DEBUG=loud ./a\n", [(2, "error", "value-invalid")]),
        ("RUN cat > /etc/nccl.conf <<EOF\nNCCL_DEBUG = INFO\nEOF\n", [(3, "error", "conf-syntax")]),
        ("COPY <<'EOF' /etc/nccl.conf\nNCCL_DEBUG=loud\nEOF\n", [(3, "error", "value-invalid")]),
        ('CMD ["bash", "-c", "NCCL_DEBUG=loud ./a"]\n', [(2, "error", "value-invalid")]),
        ('CMD ["mpirun", "-x", "NCCL_DEBUG=loud", "./a"]\n', [(2, "error", "value-invalid")]),
        ("CMD NCCL_DEBUG=loud ./a\n", [(2, "error", "value-invalid")]),
        ("ENTRYPOINT [broken\nENV NCCL_DEBUG=loud\n", [(3, "error", "value-invalid")]),
    ],
)
def test_a_faulty_dockerfile(text, expected):
    assert codes(f"FROM a\n{text}", "Dockerfile.h200") == expected
