/* SPDX-License-Identifier: MIT */
/* What the device is: name, place, kind, and modes that do not change. */
#include <stdio.h>
#include <string.h>

#include "guest/nvml/device.h"

/* A 3D controller, as lspci calls it. */
#define CLASS_DISPLAY 3
#define SUBCLASS_3D   2

/* Looks at the device, checks the output, runs the statement that fills it. */
#define ANSWER(out, statement)                                                                     \
    struct vgpu_mailbox_device device;                                                             \
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);                                          \
    if (error)                                                                                     \
        return error;                                                                              \
    if ((out) == NULL)                                                                             \
        return NVML_ERROR_INVALID_ARGUMENT;                                                        \
    statement;                                                                                     \
    return NVML_SUCCESS;

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned int length)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    return error ? error : vgpu_nvml_text(device.gpu, name, length);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned int length)
{
    struct vgpu_mailbox_device device;
    char text[VGPU_NVML_UUID_TEXT];
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    vgpu_nvml_uuid_text(device.uuid, text);
    return vgpu_nvml_text(text, uuid, length);
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned int *index){ANSWER(index, *index = 0)}

nvmlReturn_t
    nvmlDeviceGetMinorNumber(nvmlDevice_t handle, unsigned int *minor){ANSWER(minor, *minor = 0)}

nvmlReturn_t
    nvmlDeviceGetModuleId(nvmlDevice_t handle, unsigned int *module){ANSWER(module, *module = 0)}

nvmlReturn_t nvmlDeviceGetBoardId(nvmlDevice_t handle, unsigned int *board){
    ANSWER(board, *board = device.pci_domain << 16 | device.pci_bus << 8 | device.pci_device)}

nvmlReturn_t nvmlDeviceGetMultiGpuBoard(nvmlDevice_t handle,
                                        unsigned int *several){ANSWER(several, *several = 0)}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major, int *minor){
    ANSWER(major && minor ? major : NULL,
           (*major = (int)(device.capability / 10), *minor = (int)(device.capability % 10)))}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t handle, nvmlDeviceArchitecture_t *architecture)
{
    return vgpu_nvml_word(handle, VGPU_READING_ARCHITECTURE, architecture);
}

nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t handle, nvmlBrandType_t *brand)
{
    return vgpu_nvml_word(handle, VGPU_READING_BRAND, (unsigned int *)brand);
}

nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t handle, unsigned int *cores)
{
    return vgpu_nvml_word(handle, VGPU_READING_CORES, cores);
}

nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t handle, unsigned int *bits)
{
    return vgpu_nvml_word(handle, VGPU_READING_BUS_WIDTH, bits);
}

/* ---- the PCI function ---- */

static void fill_place(const struct vgpu_mailbox_device *device, nvmlPciInfo_t *pci)
{
    memset(pci, 0, sizeof(*pci));
    pci->domain = device->pci_domain;
    pci->bus = device->pci_bus;
    pci->device = device->pci_device;
    pci->pciDeviceId = (unsigned int)device->reading[VGPU_READING_PCI_DEVICE];
    pci->pciSubSystemId = (unsigned int)device->reading[VGPU_READING_PCI_SUBSYSTEM];
    snprintf(pci->busIdLegacy, sizeof(pci->busIdLegacy), "%04X:%02X:%02X.0", pci->domain & 0xffff,
             pci->bus & 0xff, pci->device & 0xff);
    snprintf(pci->busId, sizeof(pci->busId), NVML_DEVICE_PCI_BUS_ID_FMT, pci->domain, pci->bus,
             pci->device);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle,
                                     nvmlPciInfo_t *pci){ANSWER(pci, fill_place(&device, pci))}

/* The older structure ends before `busId`. */
nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t handle, nvmlPciInfo_t *pci)
{
    nvmlPciInfo_t whole;
    ANSWER(pci, (fill_place(&device, &whole), memcpy(pci, &whole, offsetof(nvmlPciInfo_t, busId))))
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t handle, nvmlPciInfo_t *pci)
{
    return nvmlDeviceGetPciInfo_v2(handle, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t handle, nvmlPciInfoExt_t *pci)
{
    nvmlPciInfo_t plain;
    nvmlReturn_t error = nvmlDeviceGetPciInfo_v3(handle, &plain);
    if (error)
        return error;
    if (pci == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (pci->version != nvmlPciInfoExt_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *pci = (nvmlPciInfoExt_t){
        .version = nvmlPciInfoExt_v1,
        .domain = plain.domain,
        .bus = plain.bus,
        .device = plain.device,
        .pciDeviceId = plain.pciDeviceId,
        .pciSubSystemId = plain.pciSubSystemId,
        .baseClass = CLASS_DISPLAY,
        .subClass = SUBCLASS_3D,
    };
    memcpy(pci->busId, plain.busId, sizeof(pci->busId));
    return NVML_SUCCESS;
}

/* ---- modes that are what they are ---- */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, unsigned int *current,
                                  unsigned int *pending){
    ANSWER(current && pending ? current : NULL, *current = *pending = NVML_DEVICE_MIG_DISABLE)}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle,
                                            unsigned int *count){ANSWER(count, *count = 0)}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle,
                                         unsigned int *is_mig){ANSWER(is_mig, *is_mig = 0)}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t handle, nvmlComputeMode_t *mode){
    ANSWER(mode, *mode = NVML_COMPUTEMODE_DEFAULT)}

nvmlReturn_t nvmlDeviceGetDisplayMode(nvmlDevice_t handle, nvmlEnableState_t *mode){
    ANSWER(mode, *mode = NVML_FEATURE_DISABLED)}

nvmlReturn_t nvmlDeviceGetDisplayActive(nvmlDevice_t handle, nvmlEnableState_t *active){
    ANSWER(active, *active = NVML_FEATURE_DISABLED)}

nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t handle, nvmlEnableState_t *mode){
    ANSWER(mode, *mode = NVML_FEATURE_DISABLED)}

nvmlReturn_t
    nvmlDeviceGetVirtualizationMode(nvmlDevice_t handle, nvmlGpuVirtualizationMode_t *mode){
        ANSWER(mode, *mode = NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH)}

nvmlReturn_t nvmlDeviceGetBusType(nvmlDevice_t handle,
                                  nvmlBusType_t *type){ANSWER(type, *type = NVML_BUS_TYPE_PCIE)}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t handle, nvmlGpmSupport_t *support){
    ANSWER(support, support->isSupportedDevice = 0)}

nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t handle, nvmlDevice_t other,
                                    nvmlGpuP2PCapsIndex_t capability, nvmlGpuP2PStatus_t *status)
{
    (void)capability;
    if (other != handle)
        return NVML_ERROR_INVALID_ARGUMENT;
    ANSWER(status, *status = NVML_P2P_STATUS_NOT_SUPPORTED)
}
