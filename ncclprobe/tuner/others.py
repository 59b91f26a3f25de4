"""Names with NCCL's prefix that others read: builds, PyTorch, plugins of clouds. Linting passes them over.

Source: PyTorch 2.9, ProcessGroupNCCL.hpp (the older names of TORCH_NCCL_*); FindNCCL modules of PyTorch, DeepSpeed and
Horovod; nccl-tests' and NCCL's makefiles; NCCL 2.30's contrib/nccl_ep, nccl_checkpoint and nccl_m2n; Google Cloud's
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
})  # fmt: skip
"""Where to find NCCL, which version to install."""
PREFIXES = (
    "NCCL_CHECKPOINT_",
    "NCCL_DYNAMIC_CHUNK_SIZE",
    "NCCL_EP_",
    "NCCL_GPUVIZ_",
    "NCCL_NET_PLUGIN_TELEMETRY_",
    "NCCL_TESTS_",
    "NCCL_FASTRAK_",
    "NCCL_GPUDIRECTTCPX_",
    "NCCL_RESHARD_",
    "NCCL_SHIMNET_",
    "NCCL_TEST_",
    "NCCL_TUNER_CONFIG_",
)
"""Of nccl-tests' scripts, of libraries on top of NCCL and of Google's plugins."""


def others_name(name: str) -> bool:
    """Return whether something else than NCCL is known to read a name."""
    return name in TORCH or name in BUILDS or name.startswith(PREFIXES)
