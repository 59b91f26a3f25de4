"""What failed and what NCCL only warned of.

A WARN line that no rule knows is an error where NCCL's next line from the same thread traces a return code
(``init.cc:1501 -> 5``): the call failed and its callers passed that on. Such codes up to an ``[Async thread]`` end a
communicator; they count on their own where no WARN line of the process tells of a failure.

Source: NCCL 2.28.9, all ``WARN`` of src/; src/include/checks.h (the traces); nccl-tests 2.19.6, src/common.h;
PyTorch 2.9, torch/csrc/distributed/c10d/NCCLUtils.cpp.
"""

from __future__ import annotations

import re

from ncclprobe.inspect.nccl_lines import LAST_ERROR, Message
from ncclprobe.records.inspect import LogError, LogWarning

_WARNINGS = re.compile(
    r"Attempted to merge|SHARP|sharp_|NVLS|[Cc]oll[Nn]et|[Mm]ulticast|"
    r"\[Service thread\]|Failed to execute operation (?:Close|Stop)|[Ii]gnor(?:ed|ing)|[Ff]all(?:ing)? ?back|"
    r"async (?:error )?event ?: (?:client reregist|communication est|GID table|last WQE|LID|path migrated|P_Key|"
    r"port active|send queue drained|SM change|SRQ limit)|GID table change|"
    r"libibverbs|real path of (?!/sys/class/pci_bus)|NET/IB : Unable to open device|"
    r"NET/OFI (?:Only EFA|[Ff]ailed to init|Initializing plugin|Could not find|Error opening file|aws-ofi-nccl init)|"
    r"wrong magic|NUMA auto balancing|iommu=pt|retrying"
)
"""Refused extras, networks that are not there (NCCL takes the next one), what comes after the end, and events that NCCL
lives with."""
_ERRORS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        ("nvls-failure", r"Failed to bind NVLink SHARP"),
        ("ib-completion-error", r"Got completion (?:from|with)"),
        ("ofi-completion-error", r"NET/OFI Request .*completed with error"),
        ("ib-async-event", r"async (?:fatal |error )?event"),
        ("duplicate-gpu", r"Duplicate GPU detected|using the same GPU"),
        ("shared-memory-absent", r"attaching to shared memory"),
        ("shared-memory-failure", r"/shm/nccl|shared memory|posix_fallocate|No space left on device"),
        ("version-mismatch", r"[Mm]ismatched NCCL version|NCCL version mismatch|not backwards compatible|too old"),
        ("ib-memory-registration", r"ibv_reg_(?:mr|dmabuf)"),
        ("link-layer-mismatch", r"incompatible with the local|connect (?:incompatible|net devices with different)"),
        ("ib-connect-failure", r"ibv_modify_qp"),
        ("ib-failure", r"\bibv_(?:create_|alloc_|post_|poll_)\w+"),
        ("cuda-failure", r"C[Uu][Dd][Aa] (?:failure|error|IPC handle)|Failed to CUDA|\bcu(?:da|Mem)\w+ ?(?:failed|\()"),
        ("network-not-found", r"network .*not found|initialize any NET plugin"),
        ("no-network-interface", r"[Nn]o (?:socket )?interface found|listening interface|no device found matching"),
        ("message-truncated", r"[Mm]essage truncated|collective mismatch|posted incorrect receive"),
        ("no-algorithm", r"[Nn]o algorithm"),
        ("rank-mismatch", r"Bootstrap Root : (?:mismatch in|rank \d+ of)"),
        (
            "socket-failure",
            r"[Cc]onnect(?:ion)? to \S+ .*(?:failed|returned)|Connection (?:reset|refused|closed|timed out)|"
            r"Call to (?:\w+ to |\w+ from )?(?:connect|recv|send|read|write)\b|No route to host|"
            r"[Ss]ocket\w*: |[Ss]ocket(?:Finalize|Poll)\w+ |Socket recv|[Bb]ootstrap",
        ),
        ("proxy-failure", r"\[?[Pp]roxy (?:Service|Call|Progress)|ncclProxy"),
        ("out-of-memory", r"out of memory|[Cc]annot allocate memory|[Ff]ailed to (?:m|c)alloc"),
    )
)
_ALWAYS = frozenset({"nvls-failure"})
"""Whatever else the words say."""
_FOREIGN_SIGN = re.compile(
    r"Test NCCL failure|NCCL [Ee]rror\b|\bnccl(?:UnhandledCuda|System|Internal|Remote)Error\b|"
    r"\bnccl(?:InvalidUsage|InvalidArgument)\b|caught collective operation timeout"
)
"""What other programs write where NCCL failed them."""
_SOURCE_CODE = re.compile(r"\braise [\w.]+\([^)\\]*")
"""What of a traceback shows the program, not its message."""
_FOREIGN: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        ("collective-timeout", r"collective operation timeout"),
        ("unhandled-cuda-error", r"ncclUnhandledCudaError|unhandled cuda error"),
        ("system-error", r"ncclSystemError|unhandled system error"),
        ("remote-error", r"ncclRemoteError|remote process"),
        ("internal-error", r"ncclInternalError|internal error"),
        ("invalid-usage", r"nccl(?:InvalidUsage|InvalidArgument)|invalid (?:usage|argument)"),
    )
)
_NVLS = re.compile(r"transport/nvls\.cc")
_SHARP_FAILED = re.compile(r"sharp|SHARP")
_FAILED = re.compile(r"ERROR|WARN|[Ff]ail|[Cc]annot")
_SOUNDS_FAILED = re.compile(
    r"fail|error|time(?:d )?out|abort|unable|cannot|could not|mismatch|invalid|unexpected|corrupt|exhausted|denied",
    re.IGNORECASE,
)
_ATTEMPT = re.compile(r" \(\d+/\d+\) after sleep .*$")
"""Which of how many; without it a connection's tries are one warning."""
_TRACE = re.compile(r"[\w./-]+\.(?:cc|cu|h|cpp):\d+ (?:\([\w()]+\) )?-> ([1-9])")
"""With the function from 2.30 on."""
_ASYNC_END = "[Async thread]"
_RESULTS = {
    "1": "unhandled-cuda-error",
    "2": "system-error",
    "3": "internal-error",
    "4": "invalid-usage",
    "5": "invalid-usage",
    "6": "remote-error",
}
"""Source: NCCL 2.28.9, src/nccl.h.in (``ncclResult_t``)."""


class Troubles:
    """Errors and warnings seen so far."""

    def __init__(self) -> None:
        self._errors: dict[tuple[str, str, str | None], int] = {}
        """In the log's order; 0 for those that turned out, or may turn out, to be none."""
        self._warnings: dict[str, int] = {}
        self._undecided: dict[str | None, list[tuple[str, str | None]]] = {}
        self._explained: set[str | None] = set()
        """Processes with a WARN line that tells of a failure."""
        self._traced: dict[str | None, str] = {}
        """The first of a thread's return codes in a row."""
        self._ended: list[tuple[str | None, tuple[str, str, str | None]]] = []
        """Processes whose communicator ended with a return code, and that error."""

    def take(self, message: Message) -> None:
        """Read a message of NCCL or a line of another program."""
        if message.level is None:
            self._take_foreign(message.text)
        elif message.level == "WARN":
            self._take_warn(message)
        elif not message.text[:1].isupper() and (trace := _TRACE.match(message.text)):
            self._take_trace(message, trace[1])
        else:
            self._take_info(message)

    def errors(self) -> tuple[LogError, ...]:
        """Return what failed, each once; a WARN at the log's end by its words alone."""
        counts = dict(self._errors)
        for text, host in self._open():
            if _SOUNDS_FAILED.search(text):
                counts["nccl-failure", text, host] = counts.get(("nccl-failure", text, host), 0) + 1
        for process, failure in self._ended:
            if process not in self._explained:
                counts[failure] += 1
        return tuple(
            LogError(code=code, text=text, host=host, count=count)
            for (code, text, host), count in counts.items()
            if count
        )

    def warnings(self) -> tuple[LogWarning, ...]:
        """Return what stopped nothing, each once."""
        counts = dict(self._warnings)
        for text, _ in self._open():
            if not _SOUNDS_FAILED.search(text):
                counts[text] = counts.get(text, 0) + 1
        return tuple(LogWarning(text=text, count=count) for text, count in counts.items())

    def _open(self) -> list[tuple[str, str | None]]:
        return [each for several in self._undecided.values() for each in several]

    def _take_warn(self, message: Message) -> None:
        text = message.text
        if not text:
            return
        if message.where.startswith("ras/"):  # the RAS service may fail, the job goes on
            self._warn(text)
        elif code := error_code(text):
            self._explained.add(_process(message))
            in_nvls = code == "cuda-failure" and _NVLS.search(message.where) and "out of memory" not in text
            self._fail("nvls-failure" if in_nvls else code, text, message.host)
        elif _WARNINGS.search(text):
            self._warn(text)
        else:
            self._undecided.setdefault(message.thread, []).append((text, message.host))
            self._errors.setdefault(("nccl-failure", text, message.host), 0)

    def _take_info(self, message: Message) -> None:
        self._traced.pop(message.thread, None)
        if message.thread in self._undecided:
            self._decide(message, failed=False)
        elif " retrying" in message.text and "returned" in message.text:
            self._warn(_ATTEMPT.sub("", message.text))

    def _take_trace(self, message: Message, result: str) -> None:
        """Read a return code that a call's callers passed on."""
        if message.thread in self._undecided:
            self._decide(message, failed=True)
        first = self._traced.setdefault(message.thread, message.text)
        if _ASYNC_END in message.text and (code := _RESULTS.get(result)):
            del self._traced[message.thread]
            failure = ("socket-failure" if "socket" in first else code, first, message.host)
            self._errors.setdefault(failure, 0)
            self._ended.append((_process(message), failure))

    def _decide(self, message: Message, *, failed: bool) -> None:
        """Settle what the thread's last WARN lines were, now that its next other message is here."""
        for text, host in self._undecided.pop(message.thread):
            if failed:
                self._explained.add(_process(message))
                self._fail("nccl-failure", text, host)
            else:
                self._warn(text)

    def _take_foreign(self, text: str) -> None:
        if text.startswith(LAST_ERROR) and (cause := error_code(text)):
            self._fail(cause, text, None)
        elif _FOREIGN_SIGN.search(_SOURCE_CODE.sub("", text)):
            self._fail(next((code for code, pattern in _FOREIGN if pattern.search(text)), "nccl-failure"), text, None)
        elif _SHARP_FAILED.search(text) and _FAILED.search(text):
            self._warn(text)

    def _fail(self, code: str, text: str, host: str | None) -> None:
        self._errors[code, text, host] = self._errors.get((code, text, host), 0) + 1

    def _warn(self, text: str) -> None:
        self._warnings[text] = self._warnings.get(text, 0) + 1


def _process(message: Message) -> str | None:
    return message.thread and message.thread.rpartition(":")[0]


def error_code(text: str) -> str | None:
    """Return the code of a WARN that a rule knows as a failure, None for others."""
    code = next((code for code, pattern in _ERRORS if pattern.search(text)), None)
    return code if code in _ALWAYS or not _WARNINGS.search(text) else None
