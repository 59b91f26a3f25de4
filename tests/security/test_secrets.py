"""No secret of the environment or the command line reaches a file that ncclprobe writes, or what it prints."""

from __future__ import annotations

import pathlib
import sys
import time

import pytest
from click.testing import CliRunner

from ncclprobe import store
from ncclprobe.cli import group
from ncclprobe.errors import RunDirectoryError
from ncclprobe.secrecy import MASK, is_secret, kept_json, opened, without_secrets

HUSH = "hush-hush-0123456789"
NAMED = ["HF_TOKEN", "SGLANG_API_KEY", "NCCL_SECRET", "UCX_PASSWORD", "SGL_ADMIN_KEY", "NCCL_CREDENTIALS_2", "AWS_X",
         "GITHUB_PAT", "SMTP_PASS", "API_KEY_ID", "SIGNING_KEYS", "DOCKER_AUTH_CONFIG", "SLURM_JWT", "Authorization",
         "sshKey", "ssh_private_key_data"]  # fmt: skip
FORMED = [f"hf_{'a1' * 12}", f"ghp_{'b2' * 12}", f"sk-{'c3' * 12}", "AKIAABCDEFGHIJKLMNOP", "eyJhbGciOiJ.eyJzdWIi.c2ln",
          f"https://me:{HUSH}@host/x", f"Bearer {HUSH}", f"--api-key={HUSH}",
          f"nvapi-{'d4' * 12}", f"--env=HF_TOKEN={HUSH}", f"env:HF_TOKEN={HUSH}", f"https://host/x?user=a&token={HUSH}",
          f"Endpoint=sb://h/;AccountKey={HUSH}", f"postgres://me:a/{HUSH}@host/x", f"postgres://me:a@{HUSH}@host/x",
          f"['--password', '{HUSH}']", f'{{\\"password\\": \\"a {HUSH}\\"}}', f"HF_TOKEN=a\\ {HUSH}",
          f"HF_TOKEN=a'b {HUSH}'",
          f'HF_TOKEN="a\\"b {HUSH}"', f"Authorization: Basic {HUSH}", f"'Authorization': 'token {HUSH}'",
          f"-----BEGIN OPENSSH PRIVATE KEY-----\n{HUSH}\n-----END OPENSSH PRIVATE KEY-----"]  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_names_say_that_a_value_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["NCCL_IB_PKEY", "NCCL_ALGO", "max_tokens", "token_bytes", "PWD", "AWS_REGION", "keyboard", "tokenizer"]
)
def test_other_names_do_not(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("text", FORMED)
def test_keys_are_known_by_their_form(text: str) -> None:
    shown = without_secrets(f"before {text} after")
    assert MASK in shown
    assert HUSH not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize(
    "text",
    ["NCCL_ALGO=PAT: 2 ranks", "docker://registry:5000/image@sha256:00", "--max-tokens 5", "pass: 2", "a=b=c;d:e 'f'"],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("part", ["a=", "a://b:", "--a '", 'key="\\', "-----BEGIN PRIVATE KEY-----"])
def test_secrets_are_looked_for_in_a_time_that_grows_as_the_text_does(part: str) -> None:
    begun = time.process_time()
    without_secrets(part * (100_000 // len(part)))
    assert time.process_time() - begun < 5


def test_nested_values_lose_their_secrets_and_nothing_else() -> None:
    value = {"env": {"HF_TOKEN": HUSH, "A": "1"}, "argv": ["x", "--api-key", HUSH, "y"], "n": [1, 2.5, None, True]}
    assert opened(value) == {**value, "env": {"HF_TOKEN": MASK, "A": "1"}, "argv": ["x", "--api-key", MASK, "y"]}


def test_what_holds_no_sign_of_a_secret_is_written_as_it_is() -> None:
    assert kept_json({"a": [1, "b"]}) == b'{"a":[1,"b"]}'


def test_a_run_keeps_none(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(NAMED):
        monkeypatch.setenv(name, f"{HUSH}{number}")
    monkeypatch.setenv("NCCL_NET_PLUGIN", f"https://me:{HUSH}@host/x")
    program = [sys.executable, "-c", "print('1.0 tok/s')", "--api-key", HUSH, *FORMED]
    monkeypatch.setattr(store.sys, "argv", ["ncclprobe", "validate-e2e", "--", *program])
    arguments = ["validate-e2e", "--workload", "command", "--metric", "(.*) tok/s", "--trials", "2", "--warmup", "0"]
    arguments += ["--candidate", f"HF_TOKEN={HUSH}", "--json", "--out", str(tmp_path / "run"), "--", *program]
    ended = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert ended.exception is None, ended.exception
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"manifest.json", "document.json", "journal.jsonl"} <= {path.name for path in written}
    for text in [ended.stdout, ended.stderr, *(path.read_text() for path in written)]:
        assert HUSH not in text
        assert not [key for key in FORMED[:5] if key in text]
    shown = CliRunner().invoke(group, ["report", str(tmp_path / "run"), "--format", "github"], standalone_mode=False)
    assert HUSH not in shown.stdout


def test_a_run_whose_options_held_one_is_not_resumed_without_it(tmp_path: pathlib.Path) -> None:
    manifest = store.Manifest(command="validate-e2e", argv=(), seed=1, options={"command": ["x", "--api-key", HUSH]})
    store.RunDirectory.create(tmp_path / "run", manifest).close()
    with pytest.raises(RunDirectoryError, match="held a secret, which was not kept"):
        store.RunDirectory.resume(tmp_path / "run", "validate-e2e")


@pytest.mark.parametrize(("value", "said"), [(["--api-key", HUSH], True), (["--model", "x"], False)])
@pytest.mark.parametrize("job", [(), ("--launcher", "slurm", "--emit", "job.sh")])
def test_a_run_that_cannot_be_resumed_says_so_as_it_begins(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, value: list[str], said: bool, job: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["validate-e2e", "--workload", "command", "--metric", "v=(.)", "--trials", "1", "--warmup", "0", *job]
    here = ["--candidate", "A=1", "--out", "run", "--", "echo", "v=1", *value]
    ended = CliRunner().invoke(group, [*arguments, *here], standalone_mode=False)
    assert ended.exception is None, ended.exception
    assert ended.stderr.count("holds what looks like a secret") == said
    assert ("stands in the job's script" if job else "--resume cannot go on with this run") in ended.stderr or not said
    assert HUSH not in ended.stderr
