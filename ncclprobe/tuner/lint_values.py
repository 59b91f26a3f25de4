"""Values that NCCL reads otherwise than they look, or not at all.

Source: NCCL 2.30.7, src/misc/param.cc (``strtoll`` with base 0: text becomes 0, what follows a number is dropped),
src/graph/paths.cc (``ncclGetLevel``); ranges from NCCL's documentation.
"""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ncclprobe.findings import Severity
from ncclprobe.hca_list import parse_selection
from ncclprobe.tuner.lint_case import Case, Doubt, integer
from ncclprobe.tuner.script import Setting
from ncclprobe.tuner.variables import Variable

MOST_NAMES = 256
"""Of NCCL_IB_HCA that are compared with each other; NCCL uses 32 HCAs (its 2.28.9, src/transport/net_ib.cc)."""
LONGEST_NAME = 63
"""Source: libibverbs 1.14, verbs.h (IBV_SYSFS_NAME_MAX is 64, with a zero at the end)."""
SIGNS = re.compile(r"[\^=*?\[\];/]")
"""Of lists and patterns, which NCCL does not know within a list of devices."""
FUNCTION = re.compile(r"s\d+f\d\Z")
"""A PCI function ends such a name (``rocep23s0f1``): they go from 0 to 7, so no further digit follows."""
INTERFACE = re.compile(r"(eth|eno|en[psxP]|hsn|ipogif)\d|(bond|ib)\d+\Z|docker0\Z|lo\Z")
"""How network interfaces are called and RDMA devices are not; source: systemd.net-naming-scheme(7), and rdma-core 50,
kernel-boot/rdma-persistent-naming.rules (``ibp1s0``, ``rocep1s0``)."""
HCA = re.compile(r"(mlx[45]_|bnxt_re)\w*\d\Z")
"""How drivers call RDMA devices, and no network interface."""
AMDS = ("HIP_", "HSA_", "RCCL_", "ROCM_", "ROCR_", "PYTORCH_ROCM_", "VLLM_ROCM_", "SGLANG_ROCM_", "NVTE_ROCM_")
"""Variables that only AMD's GPUs know, on which RCCL reads NCCL's."""
MINIMA, CHANNELS = frozenset({"NCCL_MIN_NCHANNELS", "NCCL_MIN_NRINGS"}), "1..128"
"""What RCCL takes otherwise; source: RCCL 2.27, src/include/device.h (``MAXCHANNELS``). AMD advises 112."""
LEVELS = ("LOC", "NVL", "NVB", "C2C", "PIX", "PXB", "P2C", "PXN", "PHB", "SYS")
"""Source: NCCL 2.30.7, src/graph/topo.cc (``topoPathTypeStr``)."""


def check_values(case: Case) -> Iterator[Doubt]:
    """Yield values that are of the wrong type or out of range."""
    rccl = any(one.name.startswith(AMDS) for one in case.script.settings)
    for setting, variable, value in case.known():
        variable = variable.with_(values=CHANNELS) if rccl and variable.name in MINIMA else variable
        if value:
            for severity, code, message, hint in _CHECKS.get(variable.type, _anything)(variable, value):
                yield Doubt(setting.line, severity, code, message, hint)
    yield from _hca_lists(case)


Complaint = tuple[Severity, str, str, str]


def _anything(_variable: Variable, _value: str) -> Iterator[Complaint]:
    yield from ()


def _number(variable: Variable, value: str) -> Iterator[Complaint]:
    number = integer(value)
    if number is None:
        read = re.match(r"\s*[+-]?(0[xX][0-9a-fA-F]+|\d+)", value)
        taken = integer(read[0]) if read else 0
        message = f"{variable.name}={value} is no whole number; NCCL reads it as {0 if taken is None else taken}"
        yield Severity.ERROR, "value-invalid", message, f"write a number{_range_hint(variable)}"
    elif not _within(variable.values, number):
        message = f"{variable.name}={value} is outside what NCCL takes, {_range(variable.values)}"
        yield Severity.WARNING, "value-out-of-range", message, f"write a number{_range_hint(variable)}"


def _within(values: str, number: int) -> bool:
    if not values:
        return True
    if ".." not in values:
        return str(number) in values.split(",")
    low, _, high = values.partition("..")
    return int(low) <= number and (not high or number <= int(high))


def _range(values: str) -> str:
    low, dots, high = values.partition("..")
    if not dots:
        return values.replace(",", ", ")
    return f"{low} to {high}" if high else f"{low} and above"


def _range_hint(variable: Variable) -> str:
    return f": {_range(variable.values)}" if variable.values else ""


def _switch(variable: Variable, value: str) -> Iterator[Complaint]:
    if value.lower() not in ("true", "false"):
        yield from _number(variable, value)


def _word(variable: Variable, value: str) -> Iterator[Complaint]:
    if value.upper() not in variable.values.split(","):
        message = f"{variable.name}={value} is none of the words that NCCL knows"
        yield Severity.ERROR, "value-invalid", message, f"write one of {variable.values.replace(',', ', ')}"


def _level(variable: Variable, value: str) -> Iterator[Complaint]:
    if value in LEVELS or value[0].isdigit():
        return
    upper = (
        f"write {value.upper()}" if value.upper() in LEVELS else f"write one of {variable.values.replace(',', ', ')}"
    )
    message = f"{variable.name}={value} is no distance that NCCL knows, so the setting does nothing"
    yield Severity.ERROR, "value-invalid", message, upper


def _subsystems(variable: Variable, value: str) -> Iterator[Complaint]:
    known = variable.values.split(",")
    wrong = [
        word for word in value.lstrip("^").split(",") if word.strip("^ ") and word.strip("^ ").upper() not in known
    ]
    if wrong:
        message = f"{variable.name}={value}: NCCL has no subsystem {', '.join(wrong)}"
        yield Severity.WARNING, "value-invalid", message, f"known are {', '.join(known)}"


def _device_list(variable: Variable, value: str) -> Iterator[Complaint]:
    """Yield names with letters that no device has; NCCL keeps them (src/misc/utils.cc, ``parseStringList``)."""
    blank = [name for name, _ in parse_selection(value).items if re.search(r"\s", name)]
    if blank:
        message = (
            f"{variable.name}={value}: NCCL takes the blanks for parts of the names, so {blank[0]!r} names nothing"
        )
        yield Severity.ERROR, "value-invalid", message, f"write {variable.name}={_without_blanks(value)}"
    ahead = value[: 1 + value.startswith("^=")] if value.startswith(("^", "=")) else ""
    odd = next((name for name in value[len(ahead) :].split(",") if SIGNS.search(name)), "")
    if odd:
        sign = SIGNS.findall(odd)[0]
        lost = f"takes {sign} for a part of the name, so {odd!r} names nothing"
        lost = f"reads a port up to {sign}, so the rest of {odd!r} is lost" if ":" in odd.partition(sign)[0] else lost
        message = f"{variable.name}={value}: NCCL {lost}"
        yield Severity.ERROR, "value-invalid", message, _devices_hint(variable, ahead, value, sign)

    yield from _mixed_up(variable, value)


def _mixed_up(variable: Variable, value: str) -> Iterator[Complaint]:
    """Yield network interfaces where HCAs belong, and the other way round."""
    hcas = variable.type == "hca"
    found = next((name for name, _ in parse_selection(value).items if (INTERFACE if hcas else HCA).match(name)), "")
    if found:
        kinds = ("a network interface", "an HCA") if hcas else ("an HCA", "a network interface")
        message = f"{variable.name}={value}: {found} is the name of {kinds[0]}, and NCCL looks for {kinds[1]}"
        hint = "write HCAs as ibv_devices shows them" if hcas else "write interfaces as ip link shows them"
        other = "interfaces belong into NCCL_SOCKET_IFNAME" if hcas else "HCAs belong into NCCL_IB_HCA"
        yield Severity.WARNING, "value-invalid", message, f"{hint}; {other}"


def _devices_hint(variable: Variable, ahead: str, value: str, sign: str) -> str:
    if sign == ";":
        return f"write {variable.name}={value.replace(';', ',')}"
    if sign in "^=":
        leading = "^=" if {"^", "="} <= set(ahead + sign) else sign
        names = re.sub("[=^]", "", value)
        return f"write {variable.name}={leading}{names}: ^ and = count in front of the whole list, for all of its names"
    return "write the names in full with commas, or the letters that they begin with"


def _without_blanks(value: str) -> str:
    return "".join(value.split())


_CHECKS = {
    "int": _number, "bool": _number, "switch": _switch, "enum": _word, "level": _level, "subsys": _subsystems,
    "hca": _device_list, "ifname": _device_list,
}  # fmt: skip


def _hca_lists(case: Case) -> Iterator[Doubt]:
    """Yield names in NCCL_IB_HCA that also take others."""
    for setting, _variable, value in case.known():
        if setting.name == "NCCL_IB_HCA":
            yield from _prefixes(setting, _without_blanks(value).rstrip(","))


def _prefixes(setting: Setting, value: str) -> Iterator[Doubt]:
    selection = parse_selection(value)
    names = [name for name, _ in selection.items[:MOST_NAMES] if len(name) <= LONGEST_NAME]
    numbered, ordered = _numbered(names), sorted(set(names))
    verb = "excludes" if selection.exclude else "takes"
    hint = f"write {setting.name}={'^=' if selection.exclude else '='}{value.lstrip('^')}, whose names match exactly"
    for name in names if not selection.exact else ():
        if longer := numbered.get(name):
            message = f"{name} is a prefix and {verb} whatever begins so; the list shows that there are such names"
            yield Doubt(setting.line, Severity.WARNING, "ib-hca-prefix", f"{message} ({', '.join(longer)})", hint)
            return
        following = ordered[bisect.bisect_right(ordered, name) :][:1]  # all names that go on from it stand there
        single = re.search(r"[a-z_]1\Z", name) and not FUNCTION.search(name)
        if single and not any(other.startswith(name) for other in following):
            message = f"{name} is a prefix and {verb} {name}0 to {name}9 too, where a node has them"
            yield Doubt(setting.line, Severity.INFO, "ib-hca-prefix", message, hint)
            return


def _numbered(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names that are another one with digits behind it, by that other one."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem = re.sub(r"\d+\Z", "", name)
        for end in range(len(stem), len(name)):
            found[name[:end]].append(name)
    return found
