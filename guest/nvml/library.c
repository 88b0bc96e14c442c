/* SPDX-License-Identifier: MIT */
/* The library as such: its beginning and end, versions, errors, and finding the device. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "guest/nvml/device.h"

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    (void)flags; /* they say what is no failure where there is no GPU, or attach none */
    return vgpu_nvml_open();
}

nvmlReturn_t nvmlInit_v2(void)
{
    return vgpu_nvml_open();
}

nvmlReturn_t nvmlInit(void)
{
    return vgpu_nvml_open();
}

nvmlReturn_t nvmlShutdown(void)
{
    return vgpu_nvml_close();
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    static const char *const text[] = {
        [NVML_SUCCESS] = "Success",
        [NVML_ERROR_UNINITIALIZED] = "Uninitialized",
        [NVML_ERROR_INVALID_ARGUMENT] = "Invalid Argument",
        [NVML_ERROR_NOT_SUPPORTED] = "Not Supported",
        [NVML_ERROR_NO_PERMISSION] = "Insufficient Permissions",
        [NVML_ERROR_ALREADY_INITIALIZED] = "Already Initialized",
        [NVML_ERROR_NOT_FOUND] = "Not Found",
        [NVML_ERROR_INSUFFICIENT_SIZE] = "Insufficient Size",
        [NVML_ERROR_INSUFFICIENT_POWER] = "Insufficient External Power",
        [NVML_ERROR_DRIVER_NOT_LOADED] = "Driver Not Loaded",
        [NVML_ERROR_TIMEOUT] = "Timeout",
        [NVML_ERROR_IRQ_ISSUE] = "Interrupt Request Issue",
        [NVML_ERROR_LIBRARY_NOT_FOUND] = "NVML Shared Library Not Found",
        [NVML_ERROR_FUNCTION_NOT_FOUND] = "Function Not Found",
        [NVML_ERROR_CORRUPTED_INFOROM] = "Corrupted infoROM",
        [NVML_ERROR_GPU_IS_LOST] = "GPU is lost",
        [NVML_ERROR_RESET_REQUIRED] = "GPU requires reset",
        [NVML_ERROR_OPERATING_SYSTEM] = "GPU access blocked by the operating system",
        [NVML_ERROR_LIB_RM_VERSION_MISMATCH] = "Driver/library version mismatch",
        [NVML_ERROR_IN_USE] = "In use by another client",
        [NVML_ERROR_MEMORY] = "Insufficient Memory",
        [NVML_ERROR_NO_DATA] = "No data",
        [NVML_ERROR_ARGUMENT_VERSION_MISMATCH] = "Argument version mismatch",
        [NVML_ERROR_DEPRECATED] = "Requested functionality has been deprecated",
        [NVML_ERROR_GPU_NOT_FOUND] = "GPU not found",
    };
    bool known = (unsigned int)result < sizeof(text) / sizeof(*text) && text[result];
    return known ? text[result] : "Unknown Error";
}

/* ---- versions ---- */

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    return error ? error : vgpu_nvml_text(device.driver, version, length);
}

/* The management library's version is the major number of CUDA's, then the driver's. */
nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    struct vgpu_mailbox_device device;
    char text[sizeof(device.driver) + 16];
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    snprintf(text, sizeof(text), "%u.%s", device.cuda_version / 1000, device.driver);
    return vgpu_nvml_text(text, version, length);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    if (version == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = (int)device.cuda_version;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    return nvmlSystemGetCudaDriverVersion(version);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int process, char *name, unsigned int length)
{
    char path[64], target[PATH_MAX];
    if (name == NULL || length == 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    snprintf(path, sizeof(path), "/proc/%u/exe", process);
    ssize_t got = readlink(path, target, sizeof(target) - 1);
    if (got < 0)
        return NVML_ERROR_NOT_FOUND;
    target[got] = '\0';
    snprintf(name, length, "%s", target);
    return NVML_SUCCESS;
}

/* ---- the device ---- */

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    if (count == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = 1;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

nvmlReturn_t nvmlUnitGetCount(unsigned int *count)
{
    if (count == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return NVML_SUCCESS;
}

/* Hands the device out if it is the one that was asked for. */
static nvmlReturn_t hand_out(nvmlDevice_t *handle, bool it_is, nvmlReturn_t otherwise)
{
    if (handle == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!it_is)
        return otherwise;
    *handle = vgpu_nvml_handle();
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *handle)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    return error ? error : hand_out(handle, index == 0, NVML_ERROR_INVALID_ARGUMENT);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *handle)
{
    return nvmlDeviceGetHandleByIndex_v2(index, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *handle)
{
    struct vgpu_mailbox_device device;
    char text[VGPU_NVML_UUID_TEXT];
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    if (uuid == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    vgpu_nvml_uuid_text(device.uuid, text);
    return hand_out(handle, strcasecmp(uuid, text) == 0, NVML_ERROR_NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *handle)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    if (uuid == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (uuid->type == NVML_UUID_TYPE_ASCII)
        return nvmlDeviceGetHandleByUUID(uuid->value.str, handle);
    return hand_out(handle, memcmp(uuid->value.bytes, device.uuid, sizeof(device.uuid)) == 0,
                    NVML_ERROR_NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *place, nvmlDevice_t *handle)
{
    struct vgpu_mailbox_device device;
    unsigned int domain = 0, bus, slot;
    nvmlReturn_t error = vgpu_nvml_look(vgpu_nvml_handle(), &device);
    if (error)
        return error;
    if (place == NULL || (sscanf(place, "%x:%x:%x", &domain, &bus, &slot) != 3 &&
                          (domain = 0, sscanf(place, "%x:%x", &bus, &slot) != 2)))
        return NVML_ERROR_INVALID_ARGUMENT;
    return hand_out(
        handle, domain == device.pci_domain && bus == device.pci_bus && slot == device.pci_device,
        NVML_ERROR_NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *place, nvmlDevice_t *handle)
{
    return nvmlDeviceGetHandleByPciBusId_v2(place, handle);
}
