/* SPDX-License-Identifier: MIT */
/*
 * An interoperability table. nvidia-smi of driver 580 asks for c4fe3e6c-c98f-6c4e-a327-ee696e12f7c4
 * and ends with "Mismatch in versions" if there is none. Seen by handing out a table whose slots
 * only log: word 0 is taken for the size in bytes; slot 26 gets lines of nvidia-smi's own log
 * (format, arguments), slot 81 is called once per device and slot 72 once by dmon: these go on when
 * the answer is 0 and nothing was written. Slots 213 to 215 are asked for lists of processes
 * (device, count, entries): those that compute, draw, and are clients of the multi-process service.
 * An entry of theirs has 4128 bytes (the distance of the arrays for 500), begins as that of the
 * public function does, and has the process's name from byte 32 on (found by filling it with
 * numbers). The others are answered with NVML_ERROR_NOT_SUPPORTED.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "guest/nvml/device.h"

#define SLOTS 256

static int do_nothing(void)
{
    return NVML_SUCCESS;
}

static int refuse(void)
{
    return NVML_ERROR_NOT_SUPPORTED;
}

struct named_process {
    nvmlProcessInfo_t process;
    uint64_t unknown;
    char name[4096];
};

static_assert(sizeof(struct named_process) == 4128, "what nvidia-smi makes room for");

static nvmlReturn_t list_compute_processes(nvmlDevice_t device, unsigned int *count,
                                           struct named_process *named)
{
    nvmlProcessInfo_t *found = count && named ? calloc(*count + 1u, sizeof(*found)) : NULL;
    nvmlReturn_t error = nvmlDeviceGetComputeRunningProcesses_v3(device, count, found);
    for (unsigned int i = 0; found && error == NVML_SUCCESS && i < *count; i++) {
        named[i] = (struct named_process){.process = found[i]};
        nvmlSystemGetProcessName(found[i].pid, named[i].name, sizeof(named[i].name));
    }
    free(found);
    return error;
}

__attribute__((visibility("default"))) nvmlReturn_t
nvmlInternalGetExportTable(const void **table, const unsigned char uuid[16]);
nvmlReturn_t nvmlInternalGetExportTable(const void **table, const unsigned char uuid[16])
{
    static const unsigned char known[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                            0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};
    static const void *slots[SLOTS];
    if (table == NULL || uuid == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *table = NULL;
    if (memcmp(uuid, known, sizeof(known)) != 0)
        return NVML_ERROR_NOT_FOUND;
    /* Several threads may do this at once: all write the same. */
    slots[0] = (const void *)sizeof(slots); /* NOLINT(performance-no-int-to-ptr): it is a number */
    for (size_t i = 1; i < SLOTS; i++)
        slots[i] = (const void *)refuse;
    slots[26] = slots[72] = slots[81] = (const void *)do_nothing;
    slots[213] = (const void *)list_compute_processes;
    slots[214] = (const void *)nvmlDeviceGetGraphicsRunningProcesses_v3;
    slots[215] = (const void *)nvmlDeviceGetMPSComputeRunningProcesses_v3;
    *table = slots;
    return NVML_SUCCESS;
}
