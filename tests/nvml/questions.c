/* SPDX-License-Identifier: MIT */
/* A monitoring program that also uses CUDA: both libraries must tell the same of one device. */
#include <cuda.h>
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MANY (8u << 20)

static int failed;

static void check(bool holds, const char *what)
{
    printf("%s: %s\n", holds ? "ok" : "FAILED", what);
    failed += !holds;
}

static void same_device(nvmlDevice_t device, CUdevice cuda)
{
    char name[96], cuda_name[96], uuid[96], place[32];
    nvmlPciInfo_t pci;
    nvmlDevice_t again = NULL;
    CUuuid bytes;
    unsigned int first = 0;
    int version = 0, cuda_version = 0;

    check(nvmlDeviceGetName(device, name, sizeof(name)) == NVML_SUCCESS &&
              cuDeviceGetName(cuda_name, sizeof(cuda_name), cuda) == CUDA_SUCCESS &&
              strcmp(name, cuda_name) == 0,
          "the name is CUDA's");
    check(nvmlDeviceGetName(device, name, 3) == NVML_ERROR_INSUFFICIENT_SIZE,
          "a name that does not fit is refused");
    check(nvmlDeviceGetUUID(device, uuid, sizeof(uuid)) == NVML_SUCCESS &&
              cuDeviceGetUuid(&bytes, cuda) == CUDA_SUCCESS &&
              sscanf(uuid, "GPU-%8x-", &first) == 1 &&
              first == ((unsigned int)(unsigned char)bytes.bytes[0] << 24 |
                        (unsigned int)(unsigned char)bytes.bytes[1] << 16 |
                        (unsigned int)(unsigned char)bytes.bytes[2] << 8 |
                        (unsigned char)bytes.bytes[3]),
          "the UUID is CUDA's");
    check(nvmlDeviceGetPciInfo_v3(device, &pci) == NVML_SUCCESS &&
              cuDeviceGetPCIBusId(place, sizeof(place), cuda) == CUDA_SUCCESS &&
              strcasecmp(pci.busId + 4, place) == 0,
          "the PCI address is CUDA's");
    check(nvmlDeviceGetHandleByPciBusId_v2(place, &again) == NVML_SUCCESS && again == device,
          "the device is found by its PCI address");
    check(nvmlDeviceGetHandleByUUID(uuid, &again) == NVML_SUCCESS && again == device,
          "the device is found by its UUID");
    check(nvmlDeviceGetHandleByUUID("GPU-0", &again) == NVML_ERROR_NOT_FOUND,
          "no other UUID finds it");
    check(nvmlSystemGetCudaDriverVersion_v2(&version) == NVML_SUCCESS &&
              cuDriverGetVersion(&cuda_version) == CUDA_SUCCESS && version == cuda_version,
          "the version is CUDA's");
}

static unsigned long long own_memory(nvmlDevice_t device)
{
    nvmlProcessInfo_t process[64];
    unsigned int count = 64;
    if (nvmlDeviceGetComputeRunningProcesses_v3(device, &count, process) != NVML_SUCCESS)
        return 0;
    for (unsigned int i = 0; i < count; i++) {
        if (process[i].pid == (unsigned int)getpid())
            return process[i].usedGpuMemory;
    }
    return 0;
}

/* As nvidia-smi of driver 580 asks: its entries have the name, too (guest/nvml/internal.c). */
struct named_process {
    nvmlProcessInfo_t process;
    char unknown[8], name[4096];
};

nvmlReturn_t nvmlInternalGetExportTable(const void **table, const unsigned char uuid[16]);

static bool inner_list_has_us(nvmlDevice_t device)
{
    static const unsigned char uuid[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                           0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};
    static struct named_process list[64];
    nvmlReturn_t (*const *slots)(nvmlDevice_t, unsigned int *, struct named_process *);
    unsigned int count = 64;
    if (nvmlInternalGetExportTable((const void **)&slots, uuid) != NVML_SUCCESS ||
        slots[213](device, &count, list) != NVML_SUCCESS)
        return false;
    for (unsigned int i = 0; i < count; i++) {
        if (list[i].process.pid == (unsigned int)getpid())
            return strstr(list[i].name, "nvml-questions") != NULL;
    }
    return false;
}

static void memory_of_ours(nvmlDevice_t device, CUdevice cuda)
{
    nvmlMemory_v2_t before = {.version = nvmlMemory_v2}, after = before;
    nvmlMemory_t old;
    CUcontext context;
    CUdeviceptr memory;
    unsigned int none = 0;

    check(cuDevicePrimaryCtxRetain(&context, cuda) == CUDA_SUCCESS &&
              cuCtxSetCurrent(context) == CUDA_SUCCESS,
          "there is a context");
    check(nvmlDeviceGetMemoryInfo_v2(device, &before) == NVML_SUCCESS &&
              before.total == before.free + before.used + before.reserved,
          "memory adds up");
    check(cuMemAlloc(&memory, MANY) == CUDA_SUCCESS, "there is memory");
    usleep(150000); /* answers may be a tenth of a second old */
    check(nvmlDeviceGetMemoryInfo_v2(device, &after) == NVML_SUCCESS &&
              after.used >= before.used + MANY,
          "memory that was allocated is used");
    check(nvmlDeviceGetMemoryInfo(device, &old) == NVML_SUCCESS &&
              old.used == after.used + after.reserved,
          "the old structure counts what is reserved as used");
    check(own_memory(device) >= MANY, "this process is listed with its memory");
    check(inner_list_has_us(device), "nvidia-smi's own list has this process with its name");
    check(nvmlDeviceGetComputeRunningProcesses_v3(device, &none, NULL) ==
                  NVML_ERROR_INSUFFICIENT_SIZE &&
              none >= 1,
          "a list without room says how much is needed");
    cuMemFree(memory);
    cuDevicePrimaryCtxRelease(cuda);
}

static void wrong_questions(nvmlDevice_t device)
{
    nvmlMemory_v2_t memory = {.version = 77};
    unsigned int value;
    nvmlEventSet_t set;
    nvmlEventData_t data;
    check(nvmlDeviceGetIndex((nvmlDevice_t)(void *)&value, &value) == NVML_ERROR_INVALID_ARGUMENT,
          "a wrong handle is refused");
    check(nvmlDeviceGetIndex(device, NULL) == NVML_ERROR_INVALID_ARGUMENT,
          "a missing output is refused");
    check(nvmlDeviceGetMemoryInfo_v2(device, &memory) == NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
          "a structure of another version is refused");
    check(nvmlEventSetCreate(&set) == NVML_SUCCESS &&
              nvmlEventSetWait_v2(set, &data, 1) == NVML_ERROR_TIMEOUT &&
              nvmlEventSetFree(set) == NVML_SUCCESS,
          "nothing happens, and waiting for it ends");
}

int main(void)
{
    nvmlDevice_t device;
    CUdevice cuda;
    unsigned int count = 0;
    nvmlUtilization_t utilisation;

    check(nvmlDeviceGetCount_v2(&count) == NVML_ERROR_UNINITIALIZED,
          "nothing before the beginning");
    if (nvmlInit_v2() != NVML_SUCCESS || cuInit(0) != CUDA_SUCCESS || cuDeviceGet(&cuda, 0))
        return EXIT_FAILURE;
    check(nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS && count == 1, "there is one device");
    if (nvmlDeviceGetHandleByIndex_v2(0, &device) != NVML_SUCCESS)
        return EXIT_FAILURE;
    same_device(device, cuda);
    memory_of_ours(device, cuda);
    wrong_questions(device);
    check(nvmlDeviceGetUtilizationRates(device, &utilisation) == NVML_SUCCESS &&
              utilisation.gpu <= 100,
          "utilisation is a percentage");
    check(nvmlInit_v2() == NVML_SUCCESS && nvmlShutdown() == NVML_SUCCESS &&
              nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS,
          "the library is open as often as it was opened");
    check(nvmlShutdown() == NVML_SUCCESS, "and then closed");
    check(nvmlShutdown() == NVML_ERROR_UNINITIALIZED, "only so often");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
