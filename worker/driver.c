/* SPDX-License-Identifier: MIT */
#include "worker/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "worker/log.h"

/* What the software GPU calls its device. */
#define SOFTWARE_GPU "vgpu Software GPU"

struct symbol {
    const char *name; /* with the version that cuda.h chose for it */
    size_t offset;    /* of its field */
    enum need { REQUIRED, OPTIONAL, REFUSABLE } need;
};

#define TEXT(name)             #name
#define REQUIRED_SYMBOL(name)  {TEXT(name), offsetof(struct vgpu_driver, name), REQUIRED},
#define OPTIONAL_SYMBOL(name)  {TEXT(name), offsetof(struct vgpu_driver, name), OPTIONAL},
#define REFUSABLE_SYMBOL(name) {TEXT(name), offsetof(struct vgpu_driver, name), REFUSABLE},

static const struct symbol symbols[] = {VGPU_DRIVER_REQUIRED(REQUIRED_SYMBOL) VGPU_DRIVER_OPTIONAL(
    OPTIONAL_SYMBOL) VGPU_DRIVER_REFUSABLE(REFUSABLE_SYMBOL)};

/* Stands for functions of any arguments: it looks at none, which the calling convention allows. */
static CUresult refuse(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

int vgpu_driver_open(struct vgpu_driver *driver, const char *path)
{
    memset(driver, 0, sizeof(*driver));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        vgpu_log("cannot load the driver: %s", dlerror());
        return -ENOENT;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *address = dlsym(library, symbols[i].name);
        if (address == NULL && symbols[i].need == REQUIRED) {
            vgpu_log("the driver %s has no %s: it is too old", path, symbols[i].name);
            return -ENOENT;
        }
        if (address == NULL && symbols[i].need == REFUSABLE)
            address = (void *)refuse;
        memcpy((char *)driver + symbols[i].offset, &address, sizeof(address));
    }
    return 0;
}

CUresult vgpu_driver_describe(const struct vgpu_driver *driver, CUdevice device,
                              struct vgpu_device_info *info)
{
    CUuuid uuid;
    size_t memory = 0;
    int count = 0, version = 0;

    memset(info, 0, sizeof(*info));
    CUresult error = driver->cuDeviceGetCount(&count);
    if (error == CUDA_SUCCESS)
        error = driver->cuDriverGetVersion(&version);
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetName(info->name, sizeof(info->name), device);
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetUuid(&uuid, device);
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceTotalMem(&memory, device);
    if (error)
        return error;
    memcpy(info->uuid, uuid.bytes, sizeof(info->uuid));
    info->memory_total = memory;
    info->device_count = (uint32_t)count;
    info->driver_version = (uint32_t)version;
    for (uint32_t i = 1; i < VGPU_DEVICE_ATTRIBUTES; i++) {
        int value = 0;
        if (driver->cuDeviceGetAttribute(&value, (CUdevice_attribute)i, device) == CUDA_SUCCESS) {
            info->attribute[i] = value;
            info->attribute_known[i] = 1;
        }
    }
    return CUDA_SUCCESS;
}

CUresult vgpu_driver_start(struct vgpu_driver *driver)
{
    int count = 0;
    CUresult error = driver->cuInit(0);
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetCount(&count);
    if (error == CUDA_SUCCESS && count == 0)
        error = CUDA_ERROR_NO_DEVICE;
    if (error == CUDA_SUCCESS)
        error = vgpu_driver_describe(driver, 0, &driver->info);
    if (error)
        vgpu_log("the driver does not start: error %d", (int)error);
    driver->is_software = strcmp(driver->info.name, SOFTWARE_GPU) == 0;
    return error;
}
