"""What a variable does, and what counts instead of it."""

from __future__ import annotations

from ncclprobe.records.lint import Explanation
from ncclprobe.tuner.others import owner
from ncclprobe.tuner.variables import Catalog, Variable, is_sglang, known_to_sglang, nearest

DOCUMENTATION = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html"
READ = {
    "process": "once a process; later changes are not seen (NCCL_NO_CACHE lifts that from 2.29.7 on for parameters)",
    "communicator": "again for each communicator",
}
OVERRIDES = {
    "NCCL_P2P_LEVEL": ("NCCL_P2P_DISABLE=1 counts before it.",),
    "NCCL_NET_GDR_LEVEL": ("NCCL_NET_GDR_C2C lifts it for HCAs behind a CPU tied to the GPU.",),
    "NCCL_NET_GDR_READ": ("NCCL_NET_GDR_LEVEL: beyond its distance there is no GPUDirect RDMA at all.",),
    "NCCL_IB_HCA": ("NCCL_IB_DISABLE=1 and NCCL_NET=Socket make it useless.",),
    "NCCL_IB_GID_INDEX": ("It counts before NCCL_IB_ADDR_FAMILY, NCCL_IB_ADDR_RANGE and NCCL_IB_ROCE_VERSION_NUM.",),
    "NCCL_IB_ADDR_FAMILY": ("NCCL_IB_GID_INDEX counts before it.",),
    "NCCL_IB_ADDR_RANGE": ("NCCL_IB_GID_INDEX counts before it.",),
    "NCCL_IB_ROCE_VERSION_NUM": ("NCCL_IB_GID_INDEX counts before it.",),
    "NCCL_IB_FIFO_TC": ("Where it is unset, NCCL_IB_TC holds for control messages too.",),
    "NCCL_MAX_NCHANNELS": ("The lower of it and NCCL_MAX_CTAS counts.",),
    "NCCL_MIN_NCHANNELS": ("The higher of it and NCCL_MIN_CTAS counts.",),
    "NCCL_MAX_CTAS": (
        "It counts before maxCTAs of the program's ncclConfig_t.",
        "The lower of it and NCCL_MAX_NCHANNELS counts.",
    ),
    "NCCL_MIN_CTAS": (
        "It counts before minCTAs of the program's ncclConfig_t.",
        "The higher of it and NCCL_MIN_NCHANNELS counts.",
    ),
    "NCCL_MAX_NRINGS": ("NCCL_MAX_NCHANNELS counts before it.",),
    "NCCL_MIN_NRINGS": ("NCCL_MIN_NCHANNELS counts before it.",),
    "NCCL_NET": ("It counts before netName of the program's ncclConfig_t.",),
    "NCCL_COMM_BLOCKING": ("It counts before blocking of the program's ncclConfig_t.",),
    "NCCL_CGA_CLUSTER_SIZE": ("It counts before cgaClusterSize of the program's ncclConfig_t.",),
    "NCCL_COLLNET_ENABLE": ("It counts before collnetEnable of the program's ncclConfig_t.",),
    "NCCL_ALGO": (
        "A tuner plugin (NCCL_TUNER_PLUGIN) chooses among what it allows.",
        "SGLang's deterministic mode sets it itself.",
    ),
    "NCCL_PROTO": (
        "A tuner plugin (NCCL_TUNER_PLUGIN) chooses among what it allows.",
        "While it is unset, NCCL checks whether LL128 is safe; allowing LL128 by it switches that off.",
    ),
    "NCCL_NVLS_ENABLE": ("SGLang sets it itself up to 0.5.2, later where it is unset (--enable-nccl-nvls).",),
    "NCCL_CUMEM_ENABLE": ("SGLang sets it itself up to 0.5.2, later where it is unset (--enable-symm-mem).",),
    "NCCL_GRAPH_REGISTER": ("SGLang sets it to 0 in some parallel modes.",),
    "NCCL_DEBUG_SUBSYS": ("It filters what NCCL_DEBUG=INFO or TRACE logs; with WARN it does nothing.",),
    "NCCL_DEBUG": ("NCCL_WARN_ENABLE_DEBUG_INFO raises it after the first warning.",),
    "NCCL_SOCKET_NTHREADS": ("Its product with NCCL_NSOCKS_PERTHREAD is at most 64.",),
    "NCCL_NSOCKS_PERTHREAD": ("Its product with NCCL_SOCKET_NTHREADS is at most 64.",),
    "NCCL_OOB_NET_IFNAME": ("It counts only with NCCL_OOB_NET_ENABLE=1.",),
    "NCCL_MNNVL_ENABLE": ("It needs NCCL_CUMEM_ENABLE.",),
    "NCCL_CHECK_POINTERS": ("NCCL_CHECK_MODE counts before it.",),
    "NCCL_TUNER_CONFIG_FILE": ("Only plugins read it: NCCL_TUNER_PLUGIN has to name one.",),
}
"""What counts instead of a variable.

Source: NCCL's documentation, and the files of NCCL 2.30.7 and SGLang 0.4.6 to 0.5.23 that set or read them.
"""
_AUTOMATIC = {"-2": "-2, by the system"}
EVERYWHERE = "The environment counts before $NCCL_CONF_FILE (or ~/.nccl.conf), and that before /etc/nccl.conf."


def explained(name: str, catalog: Catalog) -> Explanation:
    """Return what is known of a name.

    Args:
        name: Of a variable, as programs read it.
        catalog: All known names.
    """
    if name in catalog.nccl:
        return _of_nccl(catalog.nccl[name])
    if is_sglang(name) and known_to_sglang(name, catalog):
        return _of_sglang(name, catalog)
    if whose := owner(name):
        return _other(name, whose)
    names = catalog.sglang if is_sglang(name.upper()) else catalog.nccl
    return _unknown(name, nearest(name.upper(), names))


def _of_nccl(variable: Variable) -> Explanation:
    replaced = (f"{variable.replaced_by} has its place today.",) if variable.replaced_by else ()
    return Explanation(
        name=variable.name,
        known=True,
        nearest=(),
        about=variable.about,
        values=values_text(variable),
        default=_AUTOMATIC.get(variable.default, variable.default) or None,
        since=variable.since or None,
        until=variable.until or None,
        read=READ[variable.read],
        overrides=(*replaced, *OVERRIDES.get(variable.name, ()), EVERYWHERE),
        documented=_where(variable),
    )


def _where(variable: Variable) -> str | None:
    return f"{DOCUMENTATION}#{variable.name.lower().replace('_', '-')}" if variable.documented == "yes" else None


def values_text(variable: Variable) -> str:
    """Return which values a variable takes, for people."""
    low, dots, high = variable.values.partition("..")
    kind = _KINDS[variable.type]
    if variable.type in ("algo", "proto", "hca", "ifname") or not variable.values:
        return kind
    if not dots:
        return f"{kind}: {variable.values.replace(',', ', ')}"
    return f"{kind}: {low} to {high}" if high else f"{kind}: {low} and above"


_KINDS = {
    "bool": "0 or 1",
    "int": "a whole number",
    "switch": "0, 1, true or false",
    "enum": "one word",
    "level": "a distance",
    "list": "words with commas",
    "subsys": "words with commas, ^ before what to leave out",
    "algo": "tree, ring, collnetdirect, collnetchain, nvls, nvlstree, pat, with commas; ^ excludes; "
    "from 2.24 on per collective, as in allreduce:tree;broadcast:ring",
    "proto": "LL, LL128, Simple, with commas; ^ excludes; from 2.24 on per collective, as in allreduce:ll",
    "hca": "names with commas, each with :port if wanted; = before the list for exact names, ^ to exclude, ^= for both",
    "ifname": "names with commas; = before the list for exact names, ^ to exclude, ^= for both",
    "path": "a path",
    "text": "text",
}


def _of_sglang(name: str, catalog: Catalog) -> Explanation:
    entry = catalog.sglang.get(name) or catalog.sglang[f"SGLANG_{name[4:]}"]
    note = ("From SGLang 0.5.4 on SGL_ names are taken for SGLANG_ ones, with a warning.",) if name[3] == "_" else ()
    about = f"SGLang's own, seen in its releases from {entry.since} on; NCCL does not read it."
    return _other(name, about).with_(
        since=f"SGLang {entry.since}", until=f"SGLang {entry.until}" if entry.until else None, overrides=note
    )


def _unknown(name: str, near: tuple[str, ...]) -> Explanation:
    return _other(name, "").with_(known=False, about=None, nearest=near)


def _other(name: str, about: str) -> Explanation:
    return Explanation(
        name=name, known=True, nearest=(), about=about, values=None, default=None, since=None, until=None, read=None,
        overrides=(), documented=None,
    )  # fmt: skip
