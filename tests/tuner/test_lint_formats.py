"""Files of other kinds than scripts: what they set is read by their own rules, not by a shell's."""

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.explain import explained
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


# ---- entries: environment files, the output of env

LMOD = """\
SHELL=/bin/bash
{}
PATH=/usr/bin:/bin
HOME=/home/a
BASH_FUNC_module%%=() {{  eval "$($LMOD_CMD bash "$@")" && NCCL_ALGO=foo
 NCCL_IB_DISABLE=yes
}}
BASH_FUNC_ml%%=() {{  eval "$($LMOD_DIR/ml_cmd "$@")"
}}
_=/usr/bin/env
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("NCCL_IB_HCA==mlx5_0,mlx5_3", []),
        ("NCCL_DEBUG=loud", [(2, "error", "value-invalid")]),
        ("SLURM_PROLOG=a\n b NCCL_DEBUG=loud\nNCCL_DEBUG=loud", [(4, "error", "value-invalid")]),
        ("NCCL_IB_DISABLE=1\nNCCL_IB_HCA==mlx5_0", [(3, "warning", "settings-contradict")]),
    ],
)
def test_the_output_of_env_with_functions_and_values_of_several_lines(line, expected):
    assert codes(LMOD.format(line), "env_output.txt") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nNCCL_DEBUG=WARN\nNCCL_IB_TC=106\ntorchrun x.py\n", ["variable-not-exported"] * 2),
        ("HOME=/a\nPATH=/b\nPWD=/c\nexport NCCL_DEBUG=WARN\nNCCL_IB_TC=106\n./a\n", ["variable-not-exported"]),
        ("# why\nNCCL_DEBUG=WARN\nNCCL_IB_TC=106\n", []),
        ("NCCL_DEBUG=WARN ./a\nNCCL_IB_TC=106 ./b\n", []),
    ],
)
def test_a_script_of_assignments_is_a_script(text, expected):
    assert [code for _, _, code in codes(text, "start")] == expected


def test_an_environment_file_has_blanks_and_comments():
    text = "NCCL_DEBUG=WARN  # why\nNCCL_TOPO_FILE=/etc/a b.xml\nNCCL_ALGO='Ring' # x\nA=1\n"
    assert codes(text, "job.env") == []
    assert codes("NCCL_DEBUG=WARN ./a\nNCCL_TOPO_FILE=/etc/a b.xml\n", ".env") == [(1, "error", "value-invalid")]


# ---- systemd, TOML, INI, make, JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Environment="NCCL_DEBUG=WARN" "NCCL_IB_HCA==mlx5_0,mlx5_1"\nEnvironment=NCCL_SOCKET_IFNAME=bond0\n', []),
        ("Environment=NCCL_DEBUG=%i NCCL_DEBUG_FILE=/tmp/%%h\n; Environment=NCCL_ALGO=foo\n", []),
        ("Environment=NCCL_DEBUG=INFO\nEnvironment=\nEnvironment=NCCL_DEBUG=WARN\n", []),
        ("ExecStart=/usr/bin/python3 -m sglang.launch_server --tp 8\nEnvironment=NCCL_CROSS_NIC=1\n", []),
        ("Environment=\"NCCL_DEBUG=loud\" 'NCCL_IB_TC=999'\n", [(2, "error"), (2, "warning")]),
        ("Environment=A=1 \\\n# why\n  NCCL_DEBUG=loud\n", [(4, "error")]),
        ("Environment=NCCL_DEBUG=INFO\nEnvironment=NCCL_DEBUG=WARN\n", [(2, "warning")]),
        ("ExecStart=/bin/bash -c 'NCCL_DEBUG=loud python3 x.py'\n", [(2, "error")]),
        ("ExecStartPre=-/usr/bin/env NCCL_DEBUG=loud ./a\n", [(2, "error")]),
    ],
)
def test_units_of_systemd(text, expected):
    assert [(line, severity) for line, severity, _ in codes(f"[Service]\n{text}", "sglang.service")] == expected
    assert [(line, severity) for line, severity, _ in codes(f"[Service]\n{text}", "10-nccl")] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[extra_env_vars]\nNCCL_DEBUG = "INFO"\nNCCL_IB_HCA = "=mlx5_0"\n"NCCL_ALGO" = \'Ring\'\n', []),
        ('[a]\nNCCL_IB_DISABLE = "1"\n[b]\nNCCL_IB_HCA = "=mlx5_0"\n', []),
        ('[[run]]\nNCCL_DEBUG = "INFO"\n[[run]]\nNCCL_DEBUG = "WARN"\n', []),
        ('a = [{NCCL_DEBUG = "INFO"}, {NCCL_DEBUG = "WARN"}]\nnccl_debug = "loud"\n', []),
        ('[env]\nNCCL_DEBUG = "loud" # why\n', [(2, "error", "value-invalid")]),
        ('env = {A = 1, NCCL_DEBUG = "loud"}\n', [(1, "error", "value-invalid")]),
        ('env = ["A=1", "NCCL_DEBUG=loud"]\n', [(1, "error", "value-invalid")]),
        ('env = [\n  "A=1",\n  "NCCL_DEBUG=loud",  # why\n]\n', [(3, "error", "value-invalid")]),
        ("NCCL_IB_DISABLE = 1\nNCCL_IB_GID_INDEX = 3\n", [(2, "warning", "settings-contradict")]),
    ],
)  # fmt: skip
def test_toml(text, expected):
    assert codes(text, "run.toml") == expected


def test_ini():
    assert codes("[env]\nNCCL_DEBUG = INFO\nNCCL_ALGO=Ring\nnccl_debug = a\n; NCCL_PROTO = x\n", "run.ini") == []
    assert codes("[a]\nNCCL_DEBUG = 'loud'\n[b]\nNCCL_DEBUG = %(x)s\n", "a.cfg") == [(2, "error", "value-invalid")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export NCCL_DEBUG := INFO\nexport NCCL_IB_GID_INDEX = 3  # why\na:\n\tmpirun -np 8 ./all_reduce_perf\n", []),
        ("ifdef TCP\nexport NCCL_IB_DISABLE=1\nelse\nexport NCCL_IB_HCA==mlx5_0\nendif\nexport NCCL_NET ?= $(N)\n", []),
        ("a: export NCCL_DEBUG=INFO\nb: export NCCL_DEBUG=WARN\nNCCL_ALGO = foo\nNCCL_HOME ?= /usr\n", []),
        ("a:\n\t@NCCL_DEBUG=$(DEBUG) NCCL_ALGO=$$ALGO ./a\n\texport NCCL_DEBUG=INFO; ./a\n\tNCCL_DEBUG=WARN ./b\n", []),
        ("export NCCL_DEBUG = loud\n", [(1, "error", "value-invalid")]),
        ("a:\n\t@-NCCL_DEBUG=loud \\\n\tNCCL_ALGO=foo ./a\n",
         [(2, "error", "value-invalid"), (3, "error", "value-invalid")]),
        ("export NCCL_DEBUG=INFO\nexport NCCL_DEBUG=WARN\n", [(1, "warning", "setting-overridden")]),
    ],
)  # fmt: skip
def test_makefiles(text, expected):
    assert codes(text, "bench/Makefile") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"env": {"NCCL_DEBUG": "INFO", "NCCL_IB_HCA": "=mlx5_0"}, "NCCL_ALGO": ["ring"]}', []),
        ('{"a": {"NCCL_DEBUG": "INFO"}, "b": {"NCCL_DEBUG": "WARN"}}', []),
        ('{"NCCL_DEBUG": null, "NCCL_IB_DISABLE": null, "NCCL_PROTO": null}', []),
        ('{"NCCL_DEBUG": null, "NCCL_PROTO": "null"}', [(1, "error", "value-invalid")]),
        ('{"environment": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"value": "1", "name": "NCCL_IB_DISABLE"}]}', []),
        ('{"NCCL_DEBUG": "${DEBUG}", "NCCL_DEBUG_FILE": "C:\\\\a \\"b\\""}', []),
        ('{\n// why\n"args": ["--x", "NCCL_DEBUG = 3"], "env": {"NCCL_DEBUG": "INFO",},}', []),
        ('{"env": {\n"NCCL_DEBUG": "loud"}}', [(2, "error", "value-invalid")]),
        ('{"e": [{"name": "A", "value": ""},\n{"value": "loud", "name": "NCCL_DEBUG"}]}',
         [(2, "error", "value-invalid")]),
        ('{"cmd": ["bash", "-c", "NCCL_DEBUG=loud ./a"]}', [(1, "error", "value-invalid")]),
        ('{"NCCL_IB_DISABLE": 1, "NCCL_IB_TC": 106}', [(1, "warning", "settings-contradict")]),
    ],
)  # fmt: skip
def test_json(text, expected):
    assert codes(text, "task.json") == expected
    assert codes(text, "-") == expected


# ---- YAML

ROCE = "roce:\n  NCCL_IB_GID_INDEX: '3'\n  NCCL_IB_TC: '106'\n"


@pytest.mark.parametrize(
    "text",
    [
        "ring:\n  variables:\n    NCCL_ALGO: Ring\n    NCCL_DEBUG: INFO\n"
        "tree:\n  variables:\n    NCCL_ALGO: 'allreduce:tree'\n    NCCL_DEBUG: WARN\n",
        f"{ROCE}tcp:\n  NCCL_IB_DISABLE: '1'\n  NCCL_SOCKET_IFNAME: eth0\n",
        "a: {NCCL_DEBUG: INFO}\nb: {NCCL_DEBUG: WARN}\n",
        "a:\n  NCCL_DEBUG: null  # why\n  NCCL_PROTO: ~\n  NCCL_ALGO:\nenv:\n- name: NCCL_IB_TC\n  value: null\n",
        "env: {NCCL_DEBUG: null, NCCL_IB_TC: ~}\n",
        "env:\n{{- if .Values.rdma }}\n- name: NCCL_IB_TC\n  value: '106'\n{{- else }}\n- name: NCCL_IB_DISABLE\n"
        "  value: '1'\n{{- end }}\n- name: NCCL_DEBUG\n  value: {{ .Values.debug | quote }}\n",
        "env: [{name: NCCL_DEBUG, value: {{ .Values.debug }}}, {name: NCCL_ALGO, value: $(ALGO)}]\n",
        "job:\n  script:\n    - NCCL_ALGO=Ring ./bench.sh\n    - NCCL_ALGO=allreduce:tree ./bench.sh\n",
        "run:\n  - mpirun -x NCCL_DEBUG=INFO ./a\n  - mpirun -x NCCL_DEBUG=WARN ./a\n",
        "base: &base\n  NCCL_DEBUG: &debug WARN\nother:\n  <<: *base\n  NCCL_DEBUG: *debug\n  NCCL_IB_TC: !!str 106\n",
        "a:\n- |\n  cat > /etc/nccl.conf <<EOF\n  NCCL_DEBUG=WARN\n  EOF\n  ./a\n",
        "env:\n  NCCL_IB_HCA: '{% if ib %}=mlx5_0{% else %}mlx5{% endif %}'\n",
        "data:\n  nccl.conf: |\n    # why\n    NCCL_DEBUG=WARN\n    NCCL_IB_HCA==mlx5_0,mlx5_1\n  other: x\n",
        "env:\n- name: NCCL_DEBUG\n  valueFrom:\n    configMapKeyRef: {name: NCCL, key: NCCL_DEBUG}\n",
        "spec:\n  runtimeEnvYAML: |\n    env_vars:\n      NCCL_DEBUG: INFO\n      NCCL_IB_TC: '106'\n  entrypoint: a\n",
    ],
)  # fmt: skip
def test_a_clean_manifest_gets_no_finding(text):
    assert codes(text, "a.yaml") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ROCE}  NCCL_IB_DISABLE: '1'\n", [(2, "warning", "settings-contradict")]),
        ('command: ["mpirun", "-x", "NCCL_IB_HCA=mlx5_1,mlx5_10", "./a"]\n', [(1, "warning", "ib-hca-prefix")]),
        ("command:\n  [mpirun, -x,\n   NCCL_DEBUG=loud]  # why\nenv:\n- NCCL_ALGO=foo\n",
         [(3, "error", "value-invalid"), (5, "error", "value-invalid")]),
        ("command: [bash, -c, 'NCCL_DEBUG=loud ./a']\n", [(1, "error", "value-invalid")]),
        ('env: [{name: NCCL_PROTO, value: "^LL"}, {name: A, value: "1"}]\n', [(1, "warning", "ll128-forced")]),
        ("environment: {NCCL_DEBUG: loud, A: 1}\n", [(1, "error", "value-invalid")]),
        ("env:\n- value: loud\n  name: NCCL_DEBUG\n", [(3, "error", "value-invalid")]),
        ("env:\n- name: NCCL_BUFFSIZE\n  # eight megabytes\n  value: 8M\n", [(2, "error", "value-invalid")]),
        ("env:\n- name: NCCL_DEBUG\n  value: INFO\n- name: NCCL_DEBUG\n  value: WARN\n",
         [(2, "warning", "setting-overridden")]),
        ("env:\n  - {name: NCCL_IB_DISABLE, value: '1'}\n  - name: NCCL_IB_TC\n    value: '1'\n",
         [(3, "warning", "settings-contradict")]),
        ("a:\n- {NCCL_DEBUG: INFO}\n- {NCCL_DEBUG: WARN}\n- [NCCL_DEBUG=VERSION]\n- {NCCL_DEBUG: loud}\n",
         [(5, "error", "value-invalid")]),
        ("script:\n- NCCL_DEBUG=loud ./a\n- export NCCL_ALGO=foo\n",
         [(2, "error", "value-invalid"), (3, "error", "value-invalid")]),
        ("data:\n  nccl.conf: |\n    export NCCL_DEBUG=WARN\n    NCCL_IB_HCA=\"mlx5_0\"\n    NCCL_ALGO=foo\n",
         [(3, "error", "conf-syntax"), (4, "error", "conf-syntax"), (5, "error", "value-invalid")]),
        ("spec:\n  runtimeEnvYAML: |\n    env_vars:\n      NCCL_DEBUG: loud\n", [(4, "error", "value-invalid")]),
    ],
)  # fmt: skip
def test_a_faulty_manifest(text, expected):
    assert codes(text, "a.yaml") == expected


# ---- rules


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("NCCL_IBEXT_DISABLE=1 NCCL_SHARP_DISABLE=1 NCCL_PLUGIN_P2P=ib NCCL_SHARP_MAX_COMMS=2 NCCL_UCX_TLS=dc", []),
        ("TORCH_NCCL_BLOCKING_WAIT=1", []),
        ("NCCL_IB_HCA=rocep23s0f0,rocep23s0f1", []),
        ("NCCL_IB_HCA=rocep23s1", [("info", "ib-hca-prefix")]),
        ("NCCL_SOCKET_IFNAME=^lo,docker0", []),
        ("NCCL_SOCKET_IFNAME=^=lo,docker0", []),
        ("NCCL_IB_HCA==mlx5_0:1,mlx5_3:1", []),
        ("NCCL_IB_HCA=ibp,rocep1s0,mlx5_bond_0,rdmap0s6,rxe_eth0 NCCL_SOCKET_IFNAME=ib0,ibp1s0,bond0,rdma0,mlx", []),
        ("NCCL_IB_HCA=eth0", [("warning", "value-invalid")]),
        ("NCCL_IB_HCA==mlx5_0:1,ib0:1", [("warning", "value-invalid")]),
        ("NCCL_IB_HCA=enp1s0f0np0", [("warning", "value-invalid")]),
        ("NCCL_IB_HCA=hsn0", [("warning", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME=mlx5_0:1", [("warning", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME=^mlx5_bond_0", [("warning", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME=^lo,^docker0", [("error", "value-invalid")]),
        ("NCCL_IB_HCA==mlx5_0,=mlx5_3", [("error", "value-invalid")]),
        ("NCCL_IB_HCA=mlx5_[0-3]", [("error", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME='eth*'", [("error", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME='eth?'", [("error", "value-invalid")]),
        ("NCCL_SOCKET_IFNAME=10.1.0.0/16", [("error", "value-invalid")]),
        ("NCCL_IB_HCA='mlx5_0:1;mlx5_3:1'", [("error", "value-invalid")]),
        ("NCCL_MIN_NCHANNELS=32 NCCL_MAX_CTAS=16", [("warning", "settings-contradict")]),
        ("NCCL_MIN_CTAS=32 NCCL_MAX_NCHANNELS=32", []),
        ("NCCL_MIN_NCHANNELS=112", [("warning", "value-out-of-range")]),
        ("NCCL_MIN_NCHANNELS=112 HIP_FORCE_DEV_KERNARG=1", []),
        ("NCCL_MIN_NCHANNELS=256 HSA_NO_SCRATCH_RECLAIM=1", [("warning", "value-out-of-range")]),
    ],
)
def test_values_and_names(setting, expected):
    assert [found[1:] for found in codes(f"export {setting}\n./train\n", "a.sh")] == expected


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("^lo,^eth0", "takes ^ for a part of the name, so '^eth0' names nothing", "NCCL_SOCKET_IFNAME=^lo,eth0:"),
        ("eth0,=eth1", "takes = for a part of the name, so '=eth1' names nothing", "NCCL_SOCKET_IFNAME==eth0,eth1:"),
        ("=^lo", "takes ^ for a part of the name, so '^lo' names nothing", "NCCL_SOCKET_IFNAME=^=lo:"),
        ("eth0:1;eth1", "reads a port up to ;, so the rest of 'eth0:1;eth1' is lost", "NCCL_SOCKET_IFNAME=eth0:1,eth1"),
        ("eth*", "takes * for a part of the name, so 'eth*' names nothing", "the names in full with commas"),
    ],
)  # fmt: skip
def test_messages_on_signs_in_lists_of_devices(value, message, hint):
    (found,) = lint(read_script(f"export NCCL_SOCKET_IFNAME='{value}'\n", "a.sh"), catalog())
    assert found.message == f"NCCL_SOCKET_IFNAME={value}: NCCL {message}"
    assert found.hint.startswith(f"write {hint}")


@pytest.mark.parametrize(
    ("setting", "version", "expected"),
    [
        ("NCCL_ALGO=Tree", "2.21.5", []),
        ("NCCL_ALGO=Tree", "2", [(1, "warning", "algo-without-collective")]),
        ("NCCL_ALGO=allreduce:tree", "2.21.5", [(1, "error", "value-invalid")]),
        ("NCCL_PROTO=allreduce:ll", "2.23.4", [(1, "error", "value-invalid")]),
        ("NCCL_PROTO=allreduce:ll", "2.24.3", []),
        ("NCCL_ALGO='ring;allreduce:tree'", "", []),
    ],
)
def test_collectives_in_lists_came_with_a_version(setting, version, expected):
    assert codes(f"export {setting}\n./train\n", "a.sh", version) == expected


def test_a_comma_at_the_end_is_not_proposed():
    (found,) = lint(read_script("export NCCL_IB_HCA=mlx5_0:1,mlx5_1:1,\n./a\n", "a.sh"), catalog())
    assert found.hint == "write NCCL_IB_HCA==mlx5_0:1,mlx5_1:1, whose names match exactly"


def test_the_images_name_of_a_test_is_that_test():
    job = "export NCCL_ALGO=Tree\nsrun --container-image=x {} -b 8\n"
    assert codes(job.format("all_reduce_perf_mpi"), "a.sh") == []
    assert codes(job.format("all_gather_perf_mpi"), "a.sh") == [(1, "warning", "algo-without-collective")]
    assert codes("export NCCL_DEBUG=WARN\nssh n all_reduce_perf_mpi\n", "a.sh") == [(2, "warning", "launcher-drops")]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("", [(2, "warning", "conf-syntax")]), ("2.29.7", [(2, "error", "conf-syntax")]), ("2.30.3", [])],
)
def test_nccl_conf_with_lines_from_windows(version, expected):
    assert codes("# why\r\nNCCL_DEBUG=INFO\r\n\r\nNCCL_IB_TC=106\r\n", "nccl.conf", version) == expected


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("TORCH_NCCL_BLOCKING_WAIT", "PyTorch's own"),
        ("NCCL_BLOCKING_WAIT", "PyTorch's own; called TORCH_NCCL_BLOCKING_WAIT"),
        ("NCCL_SHARP_MAX_COMMS", "NVIDIA's network plugin"),
        ("NCCL_PLUGIN_P2P", "NVIDIA's network plugin"),
        ("NCCL_FASTRAK_IFNAME", "Google Cloud's network plugins"),
        ("NCCL_HOME", "Tells builds"),
        ("NCCL_PLUGIN_PATH", "Tells builds and scripts where NCCL is"),
        ("SGLANG_VERSION", "Tells builds and scripts where SGLang is"),
        ("NCCL_TEST", "Scripts around nccl-tests"),
    ],
)
def test_names_of_other_software_are_explained(name, whose):
    found = explained(name, catalog())
    assert found.known
    assert (found.about or "").startswith(whose)


def test_what_a_manifest_sets_has_its_line():
    text = "kind: Pod\nenv: [{name: A, value: b},\n  {value: 'c', name: NCCL_DEBUG}]\nargs:\n- -x\n- NCCL_ALGO=Ring\n"
    assert settings(text, "-") == [("A", "b", 2), ("NCCL_DEBUG", "c", 3), ("NCCL_ALGO", "Ring", 6)]
