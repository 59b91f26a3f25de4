"""Settings that take each other's effect away.

Source: NCCL 2.30.7, src/graph/paths.cc (``ncclGetLevel``: P2P_DISABLE before P2P_LEVEL), src/transport/net_ib/init.cc
(nothing is looked at where IB_DISABLE is set), src/transport/net_ib/connect.cc (the GID index before family and range),
src/graph/tuning.cc, src/init.cc (channel limits), src/transport/net_socket.cc (64 sockets).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_algorithms import ALGOS, parse_choice
from ncclprobe.tuner.lint_case import Arm, Case, Doubt, together

CODE = "settings-contradict"
MAX_SOCKETS = 64
LIMITS = (
    ("NCCL_MIN_NCHANNELS", "NCCL_MAX_NCHANNELS"), ("NCCL_MIN_CTAS", "NCCL_MAX_CTAS"),
    ("NCCL_MIN_P2P_NCHANNELS", "NCCL_MAX_P2P_NCHANNELS"), ("NCCL_MIN_NCHANNELS", "NCCL_MAX_CTAS"),
    ("NCCL_MIN_CTAS", "NCCL_MAX_NCHANNELS"),
)  # fmt: skip
IB_SETTINGS = (
    "NCCL_IB_HCA", "NCCL_IB_GID_INDEX", "NCCL_IB_QPS_PER_CONNECTION", "NCCL_IB_TC", "NCCL_IB_SL", "NCCL_IB_TIMEOUT",
    "NCCL_IB_RETRY_CNT", "NCCL_IB_ADAPTIVE_ROUTING", "NCCL_IB_PCI_RELAXED_ORDERING", "NCCL_IB_SPLIT_DATA_ON_QPS",
    "NCCL_IB_AR_THRESHOLD",
)  # fmt: skip


_SWITCHES = {
    "nvls": "NCCL_NVLS_ENABLE", "nvlstree": "NCCL_NVLS_ENABLE", "collnetdirect": "NCCL_COLLNET_ENABLE",
    "collnetchain": "NCCL_COLLNET_ENABLE", "pat": "NCCL_PAT_ENABLE",
}  # fmt: skip
"""Algorithm -> the variable that switches it."""


def check_contradictions(case: Case) -> Iterator[Doubt]:
    """Yield settings that another one makes useless or impossible."""
    arms = list(together(case.script, case.catalog.nccl))
    uses = Counter(setting for arm in arms for setting in arm.settings.values())
    for arm in arms:
        for check in _CHECKS:
            yield from check(arm._replace(uses=uses))


def _without_infiniband(arm: Arm) -> Iterator[Doubt]:
    off = "NCCL_IB_DISABLE=1" if arm.number("NCCL_IB_DISABLE") == 1 else ""
    off = off or ("NCCL_NET=" + arm.value("NCCL_NET") if arm.value("NCCL_NET").lower() == "socket" else "")
    if off == "NCCL_IB_DISABLE=1" and arm.value("NCCL_NET").lower() == "ib":
        message = "NCCL_NET=IB demands the network that NCCL_IB_DISABLE=1 switches off, so communicators fail"
        yield _doubt(arm, "NCCL_NET", Severity.ERROR, message, "take one of them out")
    switch = off.partition("=")[0]
    idle = [name for name in IB_SETTINGS if arm.value(name) and not arm.also_without(name, switch)] if off else []
    if idle:
        message = f"{off} switches InfiniBand and RoCE off, so {', '.join(idle)} {_does(idle)} nothing"
        hint = f"take {off} out, or the settings of the HCAs: NCCL uses sockets as it stands"
        yield _doubt(arm, idle[0], Severity.WARNING, message, hint)


def _does(names: list[str]) -> str:
    return "does" if len(names) == 1 else "do"


def _peer_to_peer(arm: Arm) -> Iterator[Doubt]:
    both = arm.number("NCCL_P2P_DISABLE") == 1 and arm.value("NCCL_P2P_LEVEL") not in ("", "LOC", "0")
    if both and not arm.also_without("NCCL_P2P_LEVEL", "NCCL_P2P_DISABLE"):
        message = f"NCCL_P2P_DISABLE=1 counts before NCCL_P2P_LEVEL={arm.value('NCCL_P2P_LEVEL')}, which does nothing"
        yield _doubt(arm, "NCCL_P2P_LEVEL", Severity.WARNING, message, "take one of them out")


def _gpudirect(arm: Arm) -> Iterator[Doubt]:
    level = arm.value("NCCL_NET_GDR_LEVEL")
    if level in ("LOC", "0") and arm.number("NCCL_NET_GDR_READ") == 1:
        message = f"NCCL_NET_GDR_LEVEL={level} switches GPUDirect RDMA off, so NCCL_NET_GDR_READ=1 does nothing"
        yield _doubt(arm, "NCCL_NET_GDR_READ", Severity.WARNING, message, "take one of them out")


def _limits(arm: Arm) -> Iterator[Doubt]:
    for least, most in LIMITS:
        low, high = arm.number(least), arm.number(most)
        if low is not None and high is not None and low > high:
            message = f"{least}={low} is above {most}={high}"
            yield _doubt(arm, least, Severity.WARNING, message, "make the lower limit the lower one")


def _sockets(arm: Arm) -> Iterator[Doubt]:
    threads, each = arm.number("NCCL_SOCKET_NTHREADS"), arm.number("NCCL_NSOCKS_PERTHREAD")
    if threads is not None and each is not None and threads * each > MAX_SOCKETS:
        message = f"NCCL_SOCKET_NTHREADS={threads} times NCCL_NSOCKS_PERTHREAD={each} is above {MAX_SOCKETS} sockets"
        yield _doubt(arm, "NCCL_NSOCKS_PERTHREAD", Severity.WARNING, message, "lower one of them")


def _gid(arm: Arm) -> Iterator[Doubt]:
    index = arm.number("NCCL_IB_GID_INDEX")
    names = ("NCCL_IB_ADDR_FAMILY", "NCCL_IB_ADDR_RANGE", "NCCL_IB_ROCE_VERSION_NUM")
    idle = [name for name in names if arm.value(name)]
    if index is not None and index >= 0 and idle:
        message = f"NCCL_IB_GID_INDEX={index} names the GID, so {', '.join(idle)} {_does(idle)} nothing"
        yield _doubt(
            arm, idle[0], Severity.WARNING, message, "take NCCL_IB_GID_INDEX out, or what chooses a GID without it"
        )


def _disabled_algorithms(arm: Arm) -> Iterator[Doubt]:
    """Yield algorithms that are demanded and switched off."""
    choice = parse_choice(arm.value("NCCL_ALGO"), ALGOS)
    if not arm.value("NCCL_ALGO") or choice.unknown or "^" in arm.value("NCCL_ALGO"):
        return
    off = {word for word, switch in _SWITCHES.items() if arm.value(switch) == "0"}
    for allowed in choice.lists():
        if gone := sorted(allowed & off):
            alone = allowed <= off
            effect = "nothing is left, and collectives fail" if alone else "it is never taken"
            switch = _SWITCHES[gone[0]]
            asked = f"NCCL_ALGO={arm.value('NCCL_ALGO')} asks for {', '.join(gone)}"
            message = f"{asked}, which {switch}=0 switches off: {effect}"
            yield _doubt(
                arm, "NCCL_ALGO", Severity.ERROR if alone else Severity.WARNING, message, "take one of them out"
            )


def _oob(arm: Arm) -> Iterator[Doubt]:
    if arm.value("NCCL_OOB_NET_IFNAME") and arm.value("NCCL_OOB_NET_ENABLE") == "0":
        message = "NCCL_OOB_NET_ENABLE=0 makes NCCL_OOB_NET_IFNAME useless"
        yield _doubt(arm, "NCCL_OOB_NET_IFNAME", Severity.WARNING, message, "take one of them out")


def _mnnvl(arm: Arm) -> Iterator[Doubt]:
    if arm.value("NCCL_MNNVL_ENABLE") == "1" and arm.value("NCCL_CUMEM_ENABLE") == "0":
        message = "NCCL_MNNVL_ENABLE=1 demands NVLink between nodes, which needs what NCCL_CUMEM_ENABLE=0 switches off"
        yield _doubt(arm, "NCCL_MNNVL_ENABLE", Severity.ERROR, message, "take one of them out")


def _doubt(arm: Arm, name: str, severity: Severity, message: str, hint: str) -> Doubt:
    return Doubt(arm.settings[name].line, severity, CODE, message, hint)


_CHECKS: tuple[Callable[[Arm], Iterator[Doubt]], ...] = (
    _without_infiniband, _peer_to_peer, _gpudirect, _limits, _sockets, _gid, _disabled_algorithms, _oob, _mnnvl,
)  # fmt: skip
