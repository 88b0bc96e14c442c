/* SPDX-License-Identifier: MIT */
#include "mediator/health.h"

#include <dlfcn.h>
#include <nvml.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/loop.h"

#define FRESH_NANOSECONDS 1000000000u

struct vgpu_health {
    void *library;
    nvmlDevice_t device;
    char driver[80];
    uint64_t read_at; /* vgpu_loop_now(); 0: never */
    uint64_t known;
    uint64_t reading[VGPU_READINGS];
};

static void *vgpu_health_function(const struct vgpu_health *health, const char *name)
{
    return dlsym(health->library, name);
}

static void vgpu_health_keep(struct vgpu_health *health, enum vgpu_reading which, uint64_t value)
{
    health->known |= 1ull << which;
    health->reading[which] = value;
}

/* What one function without further arguments answers, as a 32-bit number. */
static const struct {
    enum vgpu_reading reading;
    const char *function;
} vgpu_health_words[] = {
    {VGPU_READING_POWER, "nvmlDeviceGetPowerUsage"},
    {VGPU_READING_POWER_LIMIT, "nvmlDeviceGetPowerManagementLimit"},
    {VGPU_READING_POWER_LIMIT_ENFORCED, "nvmlDeviceGetEnforcedPowerLimit"},
    {VGPU_READING_POWER_LIMIT_DEFAULT, "nvmlDeviceGetPowerManagementDefaultLimit"},
    {VGPU_READING_FAN, "nvmlDeviceGetFanSpeed"},
    {VGPU_READING_PERFORMANCE_STATE, "nvmlDeviceGetPerformanceState"},
    {VGPU_READING_PERSISTENCE, "nvmlDeviceGetPersistenceMode"},
    {VGPU_READING_PCIE_GENERATION, "nvmlDeviceGetCurrPcieLinkGeneration"},
    {VGPU_READING_PCIE_GENERATION_MAX, "nvmlDeviceGetMaxPcieLinkGeneration"},
    {VGPU_READING_PCIE_WIDTH, "nvmlDeviceGetCurrPcieLinkWidth"},
    {VGPU_READING_PCIE_WIDTH_MAX, "nvmlDeviceGetMaxPcieLinkWidth"},
    {VGPU_READING_ARCHITECTURE, "nvmlDeviceGetArchitecture"},
    {VGPU_READING_BRAND, "nvmlDeviceGetBrand"},
    {VGPU_READING_BUS_WIDTH, "nvmlDeviceGetMemoryBusWidth"},
    {VGPU_READING_CORES, "nvmlDeviceGetNumGpuCores"},
};

/* The same with one number, which says what is meant, before the answer. */
static const struct {
    enum vgpu_reading reading;
    const char *function;
    unsigned int which;
} vgpu_health_chosen[] = {
    {VGPU_READING_TEMPERATURE, "nvmlDeviceGetTemperature", NVML_TEMPERATURE_GPU},
    {VGPU_READING_TEMPERATURE_SHUTDOWN, "nvmlDeviceGetTemperatureThreshold",
     NVML_TEMPERATURE_THRESHOLD_SHUTDOWN},
    {VGPU_READING_TEMPERATURE_SLOWDOWN, "nvmlDeviceGetTemperatureThreshold",
     NVML_TEMPERATURE_THRESHOLD_SLOWDOWN},
    {VGPU_READING_TEMPERATURE_MEMORY_MAX, "nvmlDeviceGetTemperatureThreshold",
     NVML_TEMPERATURE_THRESHOLD_MEM_MAX},
    {VGPU_READING_TEMPERATURE_GPU_MAX, "nvmlDeviceGetTemperatureThreshold",
     NVML_TEMPERATURE_THRESHOLD_GPU_MAX},
    {VGPU_READING_CLOCK_GRAPHICS, "nvmlDeviceGetClockInfo", NVML_CLOCK_GRAPHICS},
    {VGPU_READING_CLOCK_SM, "nvmlDeviceGetClockInfo", NVML_CLOCK_SM},
    {VGPU_READING_CLOCK_MEMORY, "nvmlDeviceGetClockInfo", NVML_CLOCK_MEM},
    {VGPU_READING_CLOCK_VIDEO, "nvmlDeviceGetClockInfo", NVML_CLOCK_VIDEO},
    {VGPU_READING_CLOCK_MAX_GRAPHICS, "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_GRAPHICS},
    {VGPU_READING_CLOCK_MAX_SM, "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_SM},
    {VGPU_READING_CLOCK_MAX_MEMORY, "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_MEM},
    {VGPU_READING_CLOCK_MAX_VIDEO, "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_VIDEO},
};

/* A 64-bit answer. */
static const struct {
    enum vgpu_reading reading;
    const char *function;
} vgpu_health_longs[] = {
    {VGPU_READING_ENERGY, "nvmlDeviceGetTotalEnergyConsumption"},
    {VGPU_READING_CLOCK_EVENTS, "nvmlDeviceGetCurrentClocksEventReasons"},
    {VGPU_READING_CLOCK_EVENTS_SUPPORTED, "nvmlDeviceGetSupportedClocksEventReasons"},
};

static void vgpu_health_read_numbers(struct vgpu_health *health)
{
    for (size_t i = 0; i < sizeof(vgpu_health_words) / sizeof(*vgpu_health_words); i++) {
        nvmlReturn_t (*get)(nvmlDevice_t, unsigned int *) =
            vgpu_health_function(health, vgpu_health_words[i].function);
        unsigned int value = 0;
        if (get && get(health->device, &value) == NVML_SUCCESS)
            vgpu_health_keep(health, vgpu_health_words[i].reading, value);
    }
    for (size_t i = 0; i < sizeof(vgpu_health_chosen) / sizeof(*vgpu_health_chosen); i++) {
        nvmlReturn_t (*get)(nvmlDevice_t, unsigned int, unsigned int *) =
            vgpu_health_function(health, vgpu_health_chosen[i].function);
        unsigned int value = 0;
        if (get && get(health->device, vgpu_health_chosen[i].which, &value) == NVML_SUCCESS)
            vgpu_health_keep(health, vgpu_health_chosen[i].reading, value);
    }
    for (size_t i = 0; i < sizeof(vgpu_health_longs) / sizeof(*vgpu_health_longs); i++) {
        nvmlReturn_t (*get)(nvmlDevice_t, unsigned long long *) =
            vgpu_health_function(health, vgpu_health_longs[i].function);
        unsigned long long value = 0;
        if (get && get(health->device, &value) == NVML_SUCCESS)
            vgpu_health_keep(health, vgpu_health_longs[i].reading, value);
    }
}

static void vgpu_health_read_ecc(struct vgpu_health *health)
{
    __typeof__(nvmlDeviceGetEccMode) *mode = vgpu_health_function(health, "nvmlDeviceGetEccMode");
    __typeof__(nvmlDeviceGetTotalEccErrors) *errors =
        vgpu_health_function(health, "nvmlDeviceGetTotalEccErrors");
    nvmlEnableState_t current, pending;
    unsigned long long count;

    if (mode && mode(health->device, &current, &pending) == NVML_SUCCESS)
        vgpu_health_keep(health, VGPU_READING_ECC, current);
    if (errors && errors(health->device, NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC,
                         &count) == NVML_SUCCESS)
        vgpu_health_keep(health, VGPU_READING_ECC_UNCORRECTED, count);
    if (errors && errors(health->device, NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_VOLATILE_ECC,
                         &count) == NVML_SUCCESS)
        vgpu_health_keep(health, VGPU_READING_ECC_CORRECTED, count);
}

static void vgpu_health_read_limits(struct vgpu_health *health)
{
    __typeof__(nvmlDeviceGetPowerManagementLimitConstraints) *limits =
        vgpu_health_function(health, "nvmlDeviceGetPowerManagementLimitConstraints");
    __typeof__(nvmlDeviceGetFieldValues) *fields =
        vgpu_health_function(health, "nvmlDeviceGetFieldValues");
    nvmlFieldValue_t temperature = {.fieldId = NVML_FI_DEV_MEMORY_TEMP};
    unsigned int least, most;

    if (limits && limits(health->device, &least, &most) == NVML_SUCCESS) {
        vgpu_health_keep(health, VGPU_READING_POWER_LIMIT_LEAST, least);
        vgpu_health_keep(health, VGPU_READING_POWER_LIMIT_MOST, most);
    }
    if (fields && fields(health->device, 1, &temperature) == NVML_SUCCESS &&
        temperature.nvmlReturn == NVML_SUCCESS)
        vgpu_health_keep(health, VGPU_READING_TEMPERATURE_MEMORY, temperature.value.uiVal);
}

static void vgpu_health_read_memory(struct vgpu_health *health)
{
    __typeof__(nvmlDeviceGetMemoryInfo_v2) *get =
        vgpu_health_function(health, "nvmlDeviceGetMemoryInfo_v2");
    __typeof__(nvmlDeviceGetPciInfo_v3) *pci =
        vgpu_health_function(health, "nvmlDeviceGetPciInfo_v3");
    nvmlMemory_v2_t memory = {.version = nvmlMemory_v2};
    nvmlPciInfo_t place;

    if (get && get(health->device, &memory) == NVML_SUCCESS) {
        vgpu_health_keep(health, VGPU_READING_MEMORY_TOTAL, memory.total);
        vgpu_health_keep(health, VGPU_READING_MEMORY_RESERVED, memory.reserved);
    }
    if (pci && pci(health->device, &place) == NVML_SUCCESS) {
        vgpu_health_keep(health, VGPU_READING_PCI_DEVICE, place.pciDeviceId);
        vgpu_health_keep(health, VGPU_READING_PCI_SUBSYSTEM, place.pciSubSystemId);
    }
}

static bool vgpu_health_find(struct vgpu_health *health, const uint8_t uuid[16])
{
    __typeof__(nvmlInit_v2) *init = vgpu_health_function(health, "nvmlInit_v2");
    __typeof__(nvmlDeviceGetHandleByUUID) *find =
        vgpu_health_function(health, "nvmlDeviceGetHandleByUUID");
    __typeof__(nvmlSystemGetDriverVersion) *version =
        vgpu_health_function(health, "nvmlSystemGetDriverVersion");
    char text[48] = "GPU-";
    size_t at = 4;

    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    if (!init || !find || init() != NVML_SUCCESS)
        return false;
    if (version && version(health->driver, sizeof(health->driver)) != NVML_SUCCESS)
        health->driver[0] = '\0';
    return find(text, &health->device) == NVML_SUCCESS;
}

struct vgpu_health *vgpu_health_open(const uint8_t uuid[16])
{
    struct vgpu_health *health = calloc(1, sizeof(*health));

    if (!health)
        return NULL;
    health->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!health->library || !vgpu_health_find(health, uuid)) {
        vgpu_log(VGPU_LOG_INFO, "the GPU's temperature, power and clocks are not known: %s",
                 health->library ? "NVIDIA's management library does not find it"
                                 : "there is no libnvidia-ml.so.1");
        vgpu_health_close(health);
        return NULL;
    }
    return health;
}

void vgpu_health_close(struct vgpu_health *health)
{
    if (!health)
        return;
    if (health->library)
        dlclose(health->library);
    free(health);
}

void vgpu_health_read(struct vgpu_health *health, struct vgpu_mailbox_device *device)
{
    uint64_t now = vgpu_loop_now();

    if (!health)
        return;
    if (health->read_at == 0 || now - health->read_at >= FRESH_NANOSECONDS) {
        health->known = 0;
        vgpu_health_read_numbers(health);
        vgpu_health_read_ecc(health);
        vgpu_health_read_limits(health);
        vgpu_health_read_memory(health);
        health->read_at = now;
    }
    device->known = health->known;
    memcpy(device->reading, health->reading, sizeof(device->reading));
    memcpy(device->driver, health->driver, sizeof(device->driver));
}
