/* A small libnvidia-ml.so.1: three GPUs, of which GPU 2 cannot be read; NVML_FAULT chooses a failure of the whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, GPU_IS_LOST = 15, DRIVER_NOT_LOADED = 9, UNKNOWN = 999 };

typedef struct {
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
} pci_info;

int nvmlInitWithFlags(unsigned flags) {
  const char *fault = getenv("NVML_FAULT");
  (void)flags;
  if (fault && !strcmp(fault, "driver")) return DRIVER_NOT_LOADED;
  return fault && !strcmp(fault, "init") ? UNKNOWN : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "some error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { return snprintf(text, size, "570.133.20") < 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  *handle = (void *)(size_t)(index + 1);
  return index == 2 ? GPU_IS_LOST : SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci_info *info) {
  memset(info, 0, sizeof *info);
  snprintf(info->bus_id, sizeof info->bus_id, "00000000:%XB:00.0", (unsigned)(size_t)handle);
  return SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { (void)handle; return snprintf(text, size, "NVIDIA H200") < 0; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
  return snprintf(text, size, "GPU-%u", (unsigned)(size_t)handle - 1) < 0;
}
int nvmlDeviceGetNvLinkState(void *handle, unsigned link, unsigned *active) {
  *active = 1;
  if ((size_t)handle == 2) return NOT_SUPPORTED;
  return link < 18 ? SUCCESS : NOT_SUPPORTED;
}
int nvmlDeviceGetMemoryAffinity(void *handle, unsigned size, unsigned long long *nodes, unsigned scope) {
  (void)handle, (void)size, (void)scope;
  *nodes = 2;
  return SUCCESS;
}
