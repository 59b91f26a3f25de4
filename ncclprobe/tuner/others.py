"""Names like NCCL's that others read: builds, PyTorch, network plugins. Linting passes them over.

Source: PyTorch 2.9, ProcessGroupNCCL.hpp (the older names of TORCH_NCCL_*); FindNCCL modules of PyTorch, DeepSpeed and
Horovod; nccl-tests' and NCCL's makefiles; NCCL 2.30's contrib/nccl_ep, nccl_checkpoint and nccl_m2n;
Mellanox/nccl-rdma-sharp-plugins of 2026-04 (src/*.c: NCCL_PARAM, getenv, ``ucp_config_read("NCCL")``); Google Cloud's
documentation of GPUDirect-TCPX, TCPXO and gIB.
"""

from __future__ import annotations

TORCH = frozenset({
    "NCCL_BLOCKING_WAIT", "NCCL_ASYNC_ERROR_HANDLING", "NCCL_DESYNC_DEBUG", "NCCL_ENABLE_TIMING",
    "NCCL_AVOID_RECORD_STREAMS", "NCCL_USE_COMM_NONBLOCKING", "NCCL_DUMP_ON_TIMEOUT", "NCCL_TRACE_BUFFER_SIZE",
})  # fmt: skip
"""PyTorch's own, which are called TORCH_NCCL_* since 2.2."""
BUILDS = frozenset({
    "NCCL_HOME", "NCCL_ROOT", "NCCL_ROOT_DIR", "NCCL_DIR", "NCCL_PATH", "NCCL_PREFIX", "NCCL_INCLUDE",
    "NCCL_INCLUDE_DIR", "NCCL_INCLUDE_DIRS", "NCCL_LIB", "NCCL_LIB_DIR", "NCCL_LIBRARY", "NCCL_LIBRARIES",
    "NCCL_LIB_PATH", "NCCL_LIBRARY_PATH", "NCCL_VERSION", "NCCL_VER", "NCCL_INSTALL_PATH", "NCCL_BUILD_DIR",
    "NCCL_SRC_DIR", "NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH", "NCCL_GENCODE", "NCCL_BUILDDIR",
    "NCCL_PLUGIN_PATH", "NCCL_INIT_SCRIPT",
})  # fmt: skip
"""Where to find NCCL, which version to install."""
SGLANG_BUILDS = frozenset({
    "SGLANG_VERSION", "SGLANG_COMMIT", "SGLANG_BRANCH", "SGLANG_REPO", "SGLANG_TAG", "SGLANG_IMAGE", "SGLANG_HOME",
    "SGLANG_DIR", "SGLANG_PATH", "SGLANG_ROOT", "SGL_VERSION", "SGL_COMMIT", "SGL_BRANCH", "SGL_REPO", "SGL_TAG",
    "SGL_KERNEL_VERSION",
})  # fmt: skip
"""The same of SGLang; its Dockerfiles have some of them as arguments."""
PLUGIN = frozenset({"NCCL_IBEXT_DISABLE", "NCCL_PLUGIN_P2P"})
RDMA_SHARP = (
    "NVIDIA's network plugin (nccl-rdma-sharp-plugins, in HPC-X and NGC's images) reads it, NCCL itself does not."
)
GOOGLE = "Google Cloud's network plugins read it, NCCL itself does not."
CONTRIB = "A library on top of NCCL (of its contrib folder) reads it, NCCL itself does not."
TESTS = "Scripts around nccl-tests read it, NCCL does not."
PREFIXES = {
    "NCCL_DYNAMIC_CHUNK_SIZE": GOOGLE, "NCCL_FASTRAK_": GOOGLE, "NCCL_GPUDIRECTTCPX_": GOOGLE, "NCCL_GPUVIZ_": GOOGLE,
    "NCCL_NET_PLUGIN_TELEMETRY_": GOOGLE, "NCCL_SHIMNET_": GOOGLE, "NCCL_TUNER_CONFIG_": GOOGLE,
    "NCCL_CHECKPOINT_": CONTRIB, "NCCL_EP_": CONTRIB, "NCCL_RESHARD_": CONTRIB,
    "NCCL_SHARP_": RDMA_SHARP, "NCCL_UCX_": RDMA_SHARP, "NCCL_TEST": TESTS,
    "TORCH_NCCL_": "PyTorch's own (ProcessGroupNCCL), where its release has it; NCCL does not read it.",
}  # fmt: skip
"""How names begin, and whose they are."""


def others_name(name: str) -> bool:
    """Return whether something else than NCCL is known to read a name."""
    return bool(owner(name))


def owner(name: str) -> str:
    """Return what is known to read a name instead of NCCL, as a sentence; empty where nothing is."""
    if name in TORCH:
        return f"PyTorch's own; called TORCH_{name} since PyTorch 2.2. NCCL does not read it."
    if name in BUILDS:
        return "Tells builds and scripts where NCCL is, or which version. NCCL does not read it."
    if name in SGLANG_BUILDS:
        return "Tells builds and scripts where SGLang is, or which version. SGLang does not read it."
    if name in PLUGIN:
        return RDMA_SHARP
    return next((whose for prefix, whose in PREFIXES.items() if name.startswith(prefix)), "")
