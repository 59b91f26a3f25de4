"""What is wrong with nodes beyond their ports: HCAs and GPUs that are missing, far apart, or unlike other nodes'.

Source: NCCL 2.28 user guide, Troubleshooting (GPUDirect RDMA, PCI Access Control Services, locked memory).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ncclprobe.findings import Severity
from ncclprobe.names import PortState
from ncclprobe.nodesets import natural_key
from ncclprobe.records.scan import Gpu, Hca, Host
from ncclprobe.scan import facts
from ncclprobe.scan.facts import fact, narrow_links
from ncclprobe.scan.subjects import Node, Remark, listed, majority

ENOUGH_MEMLOCK_KIB = 64 * 1024
"""Below it an HCA cannot even register NCCL's buffers; systemd's default is 8192. The user guide asks for unlimited."""


def check_nodes(nodes: Sequence[Node]) -> Iterator[Remark]:
    """Yield what is wrong with nodes, by themselves and beside each other."""
    for node in nodes:
        yield from _affinity(node)
        yield from _nvlinks(node)
        yield from _limits(node)
    if len(nodes) > 1:
        yield from _hca_names(nodes)
        yield from _unlike(nodes, "hca-pci-differs", _pci, "the same name is another rail there")
        yield from _unlike(nodes, "board-differs", _board, "it is other hardware")
        yield from _gpus(nodes)
        yield from _software(nodes)


# ---- one node: GPUs and their HCAs


def _affinity(node: Node) -> Iterator[Remark]:
    hcas = {hca.name: hca for hca in node.host.hcas}
    some_active = any(_active(hca) for hca in hcas.values())
    some_near = any(gpu.nearest_hcas for gpu in node.host.gpus)
    for gpu in node.host.gpus if some_active else ():
        near = [hcas[name] for name in gpu.nearest_hcas if name in hcas]
        if not gpu.nearest_hcas:
            yield from [_remark_far(node, gpu)] if some_near else []
        elif not near:
            yield _remark_missing(node, gpu)
        elif not any(_active(hca) or _unknown(hca) for hca in near):
            yield _remark_inactive(node, gpu)
        yield from _numa(node, gpu, near)


def _active(hca: Hca) -> bool:
    return any(port.state is PortState.ACTIVE for port in hca.ports)


def _unknown(hca: Hca) -> bool:
    return not hca.ports or any(port.state is None for port in hca.ports)


def _gpu_name(gpu: Gpu) -> str:
    return f"GPU{gpu.index}"


def _remark_far(node: Node, gpu: Gpu) -> Remark:
    message = "no HCA is on its side of the CPUs' interconnect, while other GPUs of the node have one"
    hint = "look for an HCA that the machine no longer lists (lspci), or for a container that hides it"
    return Remark(node.label, _gpu_name(gpu), Severity.WARNING, "gpu-without-near-hca", message, hint)


def _remark_missing(node: Node, gpu: Gpu) -> Remark:
    message = f"its nearest HCA ({listed(gpu.nearest_hcas)}) is not among the node's HCAs"
    hint = "make the device visible (container options, ibv_devinfo), or its traffic takes a longer way"
    return Remark(node.label, _gpu_name(gpu), Severity.ERROR, "gpu-hca-missing", message, hint)


def _remark_inactive(node: Node, gpu: Gpu) -> Remark:
    message = f"its nearest HCA ({listed(gpu.nearest_hcas)}) has no ACTIVE port; its traffic takes a longer way"
    return Remark(node.label, _gpu_name(gpu), Severity.ERROR, "gpu-hca-inactive", message, "bring that port up first")


def _numa(node: Node, gpu: Gpu, near: Sequence[Hca]) -> Iterator[Remark]:
    other = [hca for hca in near if hca.numa_node is not None and hca.numa_node != gpu.numa_node]
    if gpu.numa_node is not None and other and len(other) == len(near):
        message = f"NUMA node {gpu.numa_node}, its nearest HCA {other[0].name} is on {other[0].numa_node}"
        hint = "check the firmware's NUMA settings (NPS, sub-NUMA clustering); pin ranks to the HCA's node"
        yield Remark(node.label, _gpu_name(gpu), Severity.WARNING, "numa-mismatch", message, hint)


def _nvlinks(node: Node) -> Iterator[Remark]:
    expected = majority(gpu.nvlinks for gpu in node.host.gpus)
    for gpu in node.host.gpus:
        if expected is not None and gpu.nvlinks is not None and gpu.nvlinks < expected:
            severity = Severity.ERROR if gpu.nvlinks else Severity.WARNING
            message = f"{gpu.nvlinks} active NVLinks where the node's other GPUs have {expected}"
            hint = "look at nvidia-smi nvlink --status and dmesg (Xid 74); drain the node if it stays"
            yield Remark(node.label, _gpu_name(gpu), severity, "nvlink-missing", message, hint)


# ---- one node: limits and settings


def _limits(node: Node) -> Iterator[Remark]:
    for device, lanes in narrow_links(node.host):
        hint = "reseat the device or look at its slot's settings; its bandwidth is that share of the full one"
        message = f"its PCIe link has {lanes} lanes"
        yield Remark(node.label, device, Severity.WARNING, "pcie-width-reduced", message, hint)
    if node.host.hcas:
        yield from _memlock(node)
    if node.host.hcas and node.host.gpus:
        yield from _direct(node)


def _memlock(node: Node) -> Iterator[Remark]:
    limit = fact(node.host, facts.MEMLOCK_KIB)
    if limit and limit.isdigit():
        severity = Severity.ERROR if int(limit) < ENOUGH_MEMLOCK_KIB else Severity.WARNING
        message = f"locked memory is limited to {limit} KiB, so HCAs may fail to register buffers"
        hint = (
            "set memlock to unlimited: /etc/security/limits.conf, LimitMEMLOCK of slurmd, --ulimit memlock=-1 (Docker)"
        )
        yield Remark(node.label, "", severity, "low-memlock", message, hint)


def _direct(node: Node) -> Iterator[Remark]:
    """Yield what keeps an HCA from reaching GPU memory directly."""
    if fact(node.host, facts.GPUDIRECT_RDMA) == "none":
        message = "no GPUDirect RDMA: neither nvidia_peermem is loaded nor do kernel and driver have DMA-BUF"
        hint = "modprobe nvidia_peermem, or NVIDIA's open kernel modules from 515 on with Linux 5.12 or later"
        yield Remark(node.label, "", Severity.ERROR, "no-gpudirect-rdma", message, hint)
    bridges = (fact(node.host, facts.ACS) or "0").split()
    if bridges[0] != "0":
        message = f"ACS redirects peer traffic on {' '.join(bridges)} PCIe bridges above GPUs and HCAs"
        hint = "turn ACS off on bare metal (firmware, or setpci ECAP_ACS+6.w=0); in a virtual machine it needs ATS"
        yield Remark(node.label, "", Severity.WARNING, "acs-enabled", message, hint)
    domains = fact(node.host, facts.IOMMU) or ""
    if "DMA" in domains:
        message = f"the IOMMU translates the devices' addresses (domains: {domains})"
        hint = "boot with iommu=pt, or without the IOMMU, where peer traffic is to be fast"
        yield Remark(node.label, "", Severity.WARNING, "iommu-translates", message, hint)


# ---- nodes beside each other


def _hca_names(nodes: Sequence[Node]) -> Iterator[Remark]:
    counted = Counter(hca.name for node in nodes for hca in node.host.hcas)
    having = sum(bool(node.host.hcas) for node in nodes)
    expected = {name for name, count in counted.items() if 2 * count >= having}
    totals = Counter(len(node.host.hcas) for node in nodes if node.host.hcas)
    usual = max(totals, key=lambda total: (totals[total], total), default=0)
    for node in nodes:
        mine = {hca.name for hca in node.host.hcas}
        missing = sorted(expected - mine, key=natural_key)
        extra = sorted(mine - expected, key=natural_key)
        rename = "name HCAs alike on every node (rdma-core's persistent naming); NCCL needs equal names"
        if missing and len(mine) < usual:
            message = f"has {len(mine)} HCAs where {usual} are usual; lacks {listed(missing)}"
            hint = "look for it with lspci and dmesg; HCAs of different names or number hang or slow a job"
            yield Remark(node.label, "", Severity.ERROR, "hca-missing", message, hint)
        elif missing:
            message = f"none of its {len(mine)} HCAs is called {listed(missing)}, as those of other nodes are"
            yield Remark(node.label, "", Severity.ERROR, "hca-missing", message, rename)
        if extra:
            message = f"has {listed(extra)}, which most nodes have not"
            yield Remark(node.label, "", Severity.WARNING, "hca-unexpected", message, rename)


def _pci(hca: Hca) -> str | None:
    return hca.pci_bus_id


def _board(hca: Hca) -> str | None:
    return hca.board_id


def _unlike(nodes: Sequence[Node], code: str, field: Callable[[Hca], str | None], meaning: str) -> Iterator[Remark]:
    """Yield HCAs whose field differs from most HCAs of that name; the first node is right at a tie."""
    counted: dict[str, Counter[str]] = {}
    for node in nodes:
        for hca in node.host.hcas:
            counted.setdefault(hca.name, Counter()).update(filter(None, [field(hca)]))
    usual = {name: values.most_common(1)[0][0] for name, values in counted.items() if values}
    for node in nodes:
        for hca in node.host.hcas:
            value = field(hca)
            if value and value != usual[hca.name]:
                message = f"{value} where most nodes have {usual[hca.name]}: {meaning}"
                hint = "compare with lspci; keep nodes of different hardware or numbering in jobs of their own"
                yield Remark(node.label, hca.name, Severity.WARNING, code, message, hint)


def _gpus(nodes: Sequence[Node]) -> Iterator[Remark]:
    counts = Counter(len(node.host.gpus) for node in nodes if node.host.gpus)
    usual = max(counts, key=lambda count: (counts[count], count), default=0)
    for node in nodes:
        found = len(node.host.gpus)
        if found < usual and (found or _saw_driver(node.host)):
            message = f"{found} GPUs where {usual} are usual"
            hint = "look for Xid 79 in dmesg (a GPU that fell off the bus); drain the node"
            yield Remark(node.label, "", Severity.ERROR, "gpu-missing", message, hint)
    yield from _odd_ones(nodes, "gpu-model-differs", _gpu_model, "the slower model sets the pace; keep them apart")


def _saw_driver(host: Host) -> bool:
    """Return whether the source is one that would show GPUs."""
    return fact(host, facts.DRIVER) is not None


def _gpu_model(host: Host) -> str | None:
    return majority(gpu.name for gpu in host.gpus)


def _software(nodes: Sequence[Node]) -> Iterator[Remark]:
    hint = "bring the nodes to one version before comparing their times"
    yield from _odd_ones(nodes, "driver-differs", lambda host: fact(host, facts.DRIVER), hint)
    yield from _odd_ones(nodes, "kernel-differs", lambda host: fact(host, facts.KERNEL), hint, Severity.INFO)
    yield from _odd_ones(
        nodes, "gpudirect-differs", lambda host: fact(host, facts.GPUDIRECT_RDMA), "load the same modules on every node"
    )


def _odd_ones(
    nodes: Sequence[Node],
    code: str,
    value_of: Callable[[Host], str | None],
    hint: str,
    severity: Severity = Severity.WARNING,
) -> Iterator[Remark]:
    """Yield the nodes whose value is not the most common one."""
    values = Counter(value for node in nodes if (value := value_of(node.host)))
    usual = next((value for value, _ in values.most_common(1)), None)
    for node in nodes:
        value = value_of(node.host)
        if value and value != usual:
            yield Remark(node.label, "", severity, code, f"{value} where most nodes have {usual}", hint)
