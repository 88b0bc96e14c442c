/* SPDX-License-Identifier: MIT */
/* Event sets: they can be made and waited for, and nothing ever happens. */
#include <time.h>

#include "guest/nvml/device.h"

static const char the_set[] = "vgpu event set";

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    if (set == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *set = (nvmlEventSet_t)(uintptr_t)the_set;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    return set == (nvmlEventSet_t)(uintptr_t)the_set ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle, unsigned long long *types)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (types == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *types = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types,
                                      nvmlEventSet_t set)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error == NVML_SUCCESS)
        error = nvmlEventSetFree(set);
    return error == NVML_SUCCESS && types ? NVML_ERROR_NOT_SUPPORTED : error;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                 unsigned int milliseconds)
{
    struct timespec time = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    if (data == NULL || nvmlEventSetFree(set) != NVML_SUCCESS)
        return NVML_ERROR_INVALID_ARGUMENT;
    nanosleep(&time, NULL);
    return NVML_ERROR_TIMEOUT;
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int milliseconds)
{
    return nvmlEventSetWait_v2(set, data, milliseconds);
}
