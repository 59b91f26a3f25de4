"""A real cluster on one machine: hosts with a network, a hostname and processes of their own, joined by a switch.

A host is the set of Linux namespaces (network, UTS, IPC, mount, PID) around one sleeping process. Nothing has a name
outside: when that process ends, and it ends with this one however this one ends, so do all processes of its host, its
links and its mounts. Addresses are seen inside alone, so any number of clusters exist side by side. All hosts share
the machine's files, as on a cluster file system, and reach each other by name over a real ssh.

Source: namespaces(7), pid_namespaces(7), tc-htb(8), tc-u32(8), sshd_config(5)
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import slurm

PREFIX = "ncclprobe-cluster-"
"""Of the folder that a cluster keeps its files in."""
PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
}
"""What it takes -> the Debian package that has it."""
PATH = os.pathsep.join([str(pathlib.Path(sys.executable).parent), "/usr/sbin:/usr/bin:/sbin:/bin"])
"""Of the hosts: this Python's programs first, ncclprobe and mpiexec among them."""
_NAMESPACES = ("--net", "--uts", "--ipc", "--mount", "--pid")
_TIED = ("setpriv", "--pdeathsig", "KILL")
"""Ends what follows when the process that started it ends."""
_FIRST = (
    'read -r pid rest </proc/self/stat; mount -t proc proc /proc; echo "$pid"; '
    "exec env --ignore-signal=CHLD sleep infinity"  # a shell's own trap does not outlive its exec
)
"""A host's first process. It says its number as it is outside; ignoring SIGCHLD, it leaves no zombie unreaped."""
_FULL_RATE = "40gbit"
_COMMAND_S = 30.0


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    """Negative: the signal that ended it."""
    stdout: str
    """What it printed."""
    stderr: str
    """What it said."""


class Host:
    """One host; its name is its hostname."""

    def __init__(self, name: str, address: str) -> None:
        """Start it, without any link yet."""
        self.name, self.address = name, address
        tokens = [*_TIED, "unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", "sh", "-c", _FIRST]
        self._holder = subprocess.Popen(
            tokens, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = self._first_process()
        """Of its first process."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the tokens that run a command there, in this working directory."""
        inside = ("env", f"--chdir={pathlib.Path.cwd()}", *argv)
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, *_TIED, *inside]

    def end(self) -> None:
        """End it with everything that runs there, and wait until that is gone."""
        with contextlib.suppress(ProcessLookupError):
            if self._holder.poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        self._holder.communicate()

    def _first_process(self) -> int:
        """Return its number.

        Raises:
            OSError: It did not start.
        """
        assert self._holder.stdout is not None
        if said := self._holder.stdout.readline().strip():
            return int(said)
        raise OSError(f"no namespaces for {self.name}: {self._holder.communicate()[1].strip()}")


class Cluster:
    """Hosts ``node1`` to ``nodeN`` on one switch, for a ``with`` statement. Hosts are named by their names."""

    def __init__(self, size: int) -> None:
        """Plan it; nothing runs before the ``with``."""
        self._size = size
        self._exits = contextlib.ExitStack()
        self._hosts: dict[str, Host] = {}
        self._rates: dict[str, str] = {}
        self._link_rates: dict[str, dict[str, str]] = {}
        self.environment = {"PATH": PATH}
        """Variables of what ``run`` and ``start`` start, beyond the inherited ones: HOME, and SLURM_CONF with Slurm."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
            exits.callback(shutil.rmtree, self.folder)
            self.environment["HOME"] = str(self.folder / "home")
            self._switch = Host("switch", "")
            exits.callback(self._switch.end)
            self._on(self._switch, "ip", "link", "add", "br0", "type", "bridge")
            self._on(self._switch, "ip", "link", "set", "br0", "up")
            self._write_files()
            for number in range(1, self._size + 1):
                host = Host(f"node{number}", f"10.78.0.{number}")
                exits.callback(host.end)
                self._hosts[host.name] = host
                self._furnish(host)
                self._plug_in(host)
                self._on(host, "/usr/sbin/sshd", "-f", str(self.folder / "sshd_config"))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    # ---- hosts and what runs there

    @property
    def names(self) -> tuple[str, ...]:
        """Return the hosts' names."""
        return tuple(self._hosts)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Return the hosts, with their names and addresses."""
        return tuple(self._hosts.values())

    def run(
        self, host: str, argv: Sequence[str], *, timeout_s: float = 120.0, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command on a host to its end, and return how it ended.

        Raises:
            TimeoutExpired: It took too long and was killed.
        """
        ended = subprocess.run(
            self._hosts[host].command(argv), env=self._environment(env), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, host: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command on a host; it ends with the cluster at the latest."""
        process = subprocess.Popen(
            self._hosts[host].command(argv), env=self._environment(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._exits.callback(_end, process)
        return process

    def processes(self, host: str) -> list[str]:
        """Return the command lines of what runs on a host, its first process left out."""
        first = self._hosts[host].pid
        others = [pid for pid in pids() if pid != first and namespace(pid, "pid") == namespace(first, "pid")]
        return sorted(filter(None, map(command_line, others)))

    def slurm(self) -> pathlib.Path:
        """Start Slurm on all hosts, its controller on the first, and return the path for SLURM_CONF."""
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        slurm.start_slurm(self)
        return self.folder / "slurm.conf"

    def must(self, host: str, *argv: str) -> str:
        """Return what a command on a host prints.

        Raises:
            OSError: It failed.
        """
        return self._on(self._hosts[host], *argv)

    # ---- links

    def slow(self, host: str, rate: str) -> None:
        """Throttle all that a host sends and receives, to a rate as tc(8) spells it: ``200mbit``."""
        self._rates[host] = rate
        self._shape(host)

    def slow_link(self, one: str, other: str, rate: str) -> None:
        """Throttle what two hosts send each other, in each direction, and nothing else."""
        for sender, receiver in ((one, other), (other, one)):
            self._link_rates.setdefault(sender, {})[receiver] = rate
            self._shape(sender)

    def fast(self, host: str) -> None:
        """Undo ``slow`` of a host and every ``slow_link`` of it."""
        self._rates.pop(host, None)
        for peer in self._link_rates.pop(host, {}):
            self._link_rates[peer].pop(host, None)
            self._shape(peer)
        self._shape(host)

    def cut(self, host: str) -> None:
        """Pull a host's cable: its own interface stays up, and nothing comes through."""
        self._on(self._switch, "ip", "link", "set", f"to-{host}", "down")

    def heal(self, host: str) -> None:
        """Undo ``cut``."""
        self._on(self._switch, "ip", "link", "set", f"to-{host}", "up")

    def add_rail(self, device: str) -> None:
        """Give every host another interface, on a switch of its own; hosts are still reached over ``e0``."""
        self._on(self._switch, "ip", "link", "add", f"br-{device}", "type", "bridge")
        self._on(self._switch, "ip", "link", "set", f"br-{device}", "up")
        for host in self.hosts:
            self._connect(host, device, f"{device}-{host.name}", f"br-{device}", host.address.replace(".78.", ".79."))

    def slow_rail(self, device: str, rate: str) -> None:
        """Throttle what every host sends over an interface that ``add_rail`` gave it."""
        for host in self.hosts:
            for tokens in _queue(device, rate, {}):
                self._on(host, *tokens)

    def restore(self) -> None:
        """Undo all of them, on every host."""
        for host in self._hosts:
            self.fast(host)
            self.heal(host)

    # ---- how it is made

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(more or {})}

    def _on(self, host: Host, *argv: str) -> str:
        ended = subprocess.run(
            host.command(argv), env=self._environment(None), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_COMMAND_S, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise OSError(f"{' '.join(argv)} on {host.name}: status {ended.returncode}: {ended.stderr or ended.stdout}")
        return ended.stdout

    def _write_files(self) -> None:
        """Write what all hosts share: names, users, and keys and options for ssh. Root's home is empty."""
        (self.folder / "home").mkdir()
        users = pathlib.Path("/etc/passwd").read_text().splitlines()
        root = f"root:x:0:0:root:{self.folder}/home:/bin/sh"
        _write(self.folder / "passwd", [root, *(user for user in users if not user.startswith("root:"))])
        key, names = self.folder / "key", [f"10.78.0.{i} node{i}" for i in range(1, self._size + 1)]
        self._on(self._switch, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
        _write(self.folder / "hosts", ["127.0.0.1 localhost", *names])
        _write(
            self.folder / "ssh_config",
            [f"IdentityFile {key}", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "LogLevel ERROR"],
        )
        _write(
            self.folder / "sshd_config",
            [
                f"HostKey {key}",
                f"AuthorizedKeysFile {key}.pub",
                f"SetEnv PATH={PATH}",
                *("StrictModes no", "UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no"),
                *("PidFile none", "MaxStartups 100", "PrintLastLog no"),
            ],
        )

    def _furnish(self, host: Host) -> None:
        """Give a host its name, its files, and a view of its own interfaces."""
        self._on(host, "hostname", host.name)
        self._on(host, "mount", "-t", "sysfs", "sysfs", "/sys")
        for scratch in ("/run", "/dev/shm"):
            self._on(host, "mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", scratch)
        self._on(host, "mkdir", "-m", "755", "/run/sshd")
        for file in ("/etc/hosts", "/etc/passwd", "/etc/ssh/ssh_config"):
            self._on(host, "mount", "--bind", str(self.folder / pathlib.Path(file).name), file)

    def _plug_in(self, host: Host) -> None:
        """Join a host's ``e0`` to the switch."""
        self._connect(host, "e0", f"to-{host.name}", "br0", host.address)
        self._on(host, "ip", "link", "set", "lo", "up")

    def _connect(self, host: Host, device: str, port: str, bridge: str, address: str) -> None:
        veth = ("ip", "link", "add", device, "netns", str(host.pid), "type", "veth")
        _check([*veth, "peer", "name", port, "netns", str(self._switch.pid)])
        self._on(self._switch, "ip", "link", "set", port, "master", bridge, "up")
        self._on(host, "ip", "addr", "add", f"{address}/24", "dev", device)
        self._on(host, "ip", "link", "set", device, "up")

    def _shape(self, name: str) -> None:
        """Make a host's queues, at its end of the cable and at the switch's, what its rates say."""
        host, rate, links = self._hosts[name], self._rates.get(name), self._link_rates.get(name, {})
        peers = {self._hosts[peer].address: peer_rate for peer, peer_rate in links.items()}
        for where, device, by_address in ((host, "e0", peers), (self._switch, f"to-{name}", {})):
            if "htb" in self._on(where, "tc", "qdisc", "show", "dev", device):
                self._on(where, "tc", "qdisc", "del", "dev", device, "root")
            for tokens in _queue(device, rate, by_address):
                self._on(where, *tokens)


def pids() -> list[int]:
    """Return the processes of the whole machine."""
    return [int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()]


def namespace(pid: int, kind: str) -> str:
    """Return which ``net`` or ``pid`` namespace a process is in, nothing where it has ended."""
    try:
        return str(pathlib.Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """Return a process's tokens, with blanks between them; nothing where it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").replace("\0", " ").strip()
    except OSError:
        return ""


def missing() -> str:
    """Return why there can be no cluster here, nothing where there can."""
    if os.geteuid() != 0:
        return "a cluster of namespaces takes root"
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=PATH) is None:
            return f"{program} is missing: apt-get install {package}"
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def _queue(device: str, rate: str | None, by_address: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the commands that throttle what a device sends: in all, and towards some addresses alone."""
    if rate is None and not by_address:
        return
    at = ["dev", device, "parent", "1:"]
    yield ["tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", "1"]
    for number, limit in enumerate([rate or _FULL_RATE, *by_address.values()], 1):
        yield ["tc", "class", "add", *at, "classid", f"1:{number:x}", "htb", "rate", limit, "quantum", "60000"]
    for number, address in enumerate(by_address, 2):
        match = ["u32", "match", "ip", "dst", f"{address}/32", "flowid", f"1:{number:x}"]
        yield ["tc", "filter", "add", *at, "protocol", "ip", "prio", "1", *match]


def _end(process: subprocess.Popen[str]) -> None:
    """End and reap a started command, however far it has come."""
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def _write(path: pathlib.Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _check(argv: Sequence[str]) -> None:
    """Run a command outside of all hosts.

    Raises:
        OSError: It failed.
    """
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if ended.returncode:
        raise OSError(f"{' '.join(argv)}: status {ended.returncode}: {ended.stderr}")
