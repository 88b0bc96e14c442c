/* SPDX-License-Identifier: MIT */
#include "mediator/health.h"

#include <dlfcn.h>
#include <nvml.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mediator/log.h"
#include "mediator/loop.h"
#include "mediator/thread.h"

#define READ_MILLISECONDS  1000
#define STALE_NANOSECONDS  15000000000u
#define FIRST_MILLISECONDS 500 /* that somebody may wait for the first reading, once */
#define CLOSE_MILLISECONDS 2000

struct vgpu_health {
    void *library;
    nvmlDevice_t device;
    nvmlEventSet_t events;          /* NULL: errors are not told */
    uint64_t opened;                /* vgpu_loop_now() */
    struct vgpu_health_state state; /* the thread's own */
    bool lost;                      /* the library says that the GPU is */

    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    struct vgpu_health_state shown;
    uint64_t read_at; /* vgpu_loop_now(); 0: not yet */
    bool waited;      /* for the first reading */
    bool stop;
};

static void *vgpu_health_function(const struct vgpu_health *health, const char *name)
{
    return dlsym(health->library, name);
}

static void vgpu_health_keep(struct vgpu_health *health, enum vgpu_reading which, uint64_t value)
{
    health->state.known |= 1ull << which;
    health->state.reading[which] = value;
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
        health->state.memory_used = memory.used;
        health->state.has_memory = true;
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
    if (version && version(health->state.driver, sizeof(health->state.driver)) != NVML_SUCCESS)
        health->state.driver[0] = '\0';
    return find(text, &health->device) == NVML_SUCCESS;
}

static void vgpu_health_read_use(struct vgpu_health *health)
{
    __typeof__(nvmlDeviceGetUtilizationRates) *get =
        vgpu_health_function(health, "nvmlDeviceGetUtilizationRates");
    nvmlUtilization_t use;
    nvmlReturn_t result = get ? get(health->device, &use) : NVML_ERROR_FUNCTION_NOT_FOUND;

    if (result == NVML_SUCCESS) {
        health->state.utilization = use.gpu;
        health->state.has_utilization = true;
    }
    /* Whichever function is asked: a GPU that is gone says so. */
    health->lost = result == NVML_ERROR_GPU_IS_LOST;
}

/** Errors after which only a reset, or a person, helps; those of programs are the guests' faults.
 */
static bool vgpu_health_is_critical(uint64_t xid)
{
    static const uint64_t critical[] = {48, 62, 64, 74, 79, 95, 119, 120};

    for (size_t i = 0; i < sizeof(critical) / sizeof(*critical); i++) {
        if (critical[i] == xid)
            return true;
    }
    return false;
}

static void vgpu_health_note_xid(struct vgpu_health_state *state, uint64_t number)
{
    uint32_t i = 0;

    while (i < state->xid_count && state->xid[i].number != number)
        i++;
    if (i == VGPU_HEALTH_XIDS) /* the last place is for all that do not fit */
        i--;
    if (i == state->xid_count)
        state->xid_count++;
    state->xid[i].number = number;
    state->xid[i].count++;
    state->xid[i].last = (uint64_t)time(NULL);
}

/** Errors that have come since the last time; never waits. */
static void vgpu_health_read_events(struct vgpu_health *health)
{
    __typeof__(nvmlEventSetWait_v2) *wait = vgpu_health_function(health, "nvmlEventSetWait_v2");
    nvmlEventData_t event = {0};

    for (int i = 0; i < 64 && wait && health->events; i++) {
        if (wait(health->events, &event, 0) != NVML_SUCCESS)
            return;
        if (event.eventType & nvmlEventTypeXidCriticalError)
            vgpu_health_note_xid(&health->state, event.eventData);
    }
}

static struct timespec vgpu_health_after(uint32_t milliseconds)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += milliseconds / 1000;
    time.tv_nsec += milliseconds % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

static const char *vgpu_health_trouble(const struct vgpu_health *health)
{
    if (health->lost)
        return "the GPU is lost: it does not answer on its bus; the host has to be restarted";
    for (uint32_t i = 0; i < health->state.xid_count; i++) {
        if (vgpu_health_is_critical(health->state.xid[i].number))
            return "the GPU has had an error that it does not recover from by itself (see "
                   "xid_errors); stop the VMs and reset it";
    }
    return NULL;
}

/** Shows what was read, and waits until it is time again. False: it shall end. */
static bool vgpu_health_show(struct vgpu_health *health)
{
    struct timespec limit = vgpu_health_after(READ_MILLISECONDS);
    int error = 0;
    bool stop;

    health->state.trouble = vgpu_health_trouble(health);
    pthread_mutex_lock(&health->mutex);
    health->shown = health->state;
    health->read_at = vgpu_loop_now();
    pthread_cond_broadcast(&health->changed);
    while (!health->stop && !error)
        error = pthread_cond_timedwait(&health->changed, &health->mutex, &limit);
    stop = health->stop;
    pthread_mutex_unlock(&health->mutex);
    return !stop;
}

static void vgpu_health_read_all(struct vgpu_health *health)
{
    health->state.known = 0;
    health->state.has_memory = health->state.has_utilization = false;
    vgpu_health_read_numbers(health);
    vgpu_health_read_ecc(health);
    vgpu_health_read_limits(health);
    vgpu_health_read_memory(health);
    vgpu_health_read_use(health);
    vgpu_health_read_events(health);
}

static void vgpu_health_register(struct vgpu_health *health)
{
    __typeof__(nvmlEventSetCreate) *create = vgpu_health_function(health, "nvmlEventSetCreate");
    __typeof__(nvmlDeviceRegisterEvents) *listen =
        vgpu_health_function(health, "nvmlDeviceRegisterEvents");

    if (!create || !listen || create(&health->events) != NVML_SUCCESS)
        health->events = NULL;
    else if (listen(health->device, nvmlEventTypeXidCriticalError, health->events) != NVML_SUCCESS)
        health->events = NULL; /* the set goes with the library */
}

static void *vgpu_health_run(void *user)
{
    struct vgpu_health *health = user;

    vgpu_health_register(health);
    do
        vgpu_health_read_all(health);
    while (vgpu_health_show(health));
    return NULL;
}

struct vgpu_health *vgpu_health_open(const uint8_t uuid[16])
{
    struct vgpu_health *health = calloc(1, sizeof(*health));
    const char *why = NULL;
    pthread_condattr_t monotonic;

    if (!health)
        return NULL;
    health->opened = vgpu_loop_now();
    pthread_mutex_init(&health->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&health->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    health->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!health->library)
        why = "there is no libnvidia-ml.so.1";
    else if (!vgpu_health_find(health, uuid))
        why = "NVIDIA's management library does not find it";
    else if (vgpu_thread_start(&health->thread, vgpu_health_run, health) < 0)
        why = "there is no thread for it";
    if (!why)
        return health;
    vgpu_log(VGPU_LOG_INFO, "the GPU's temperature, power and clocks are not known: %s", why);
    /* The library stays: it may have threads of its own, which are in it. */
    free(health);
    return NULL;
}

void vgpu_health_close(struct vgpu_health *health)
{
    struct timespec limit;

    if (!health)
        return;
    pthread_mutex_lock(&health->mutex);
    health->stop = true;
    pthread_cond_broadcast(&health->changed);
    pthread_mutex_unlock(&health->mutex);
    limit = vgpu_health_after(CLOSE_MILLISECONDS);
    if (pthread_clockjoin_np(health->thread, NULL, CLOCK_MONOTONIC, &limit))
        return; /* the library does not return: all of it goes with the process */
    pthread_cond_destroy(&health->changed);
    pthread_mutex_destroy(&health->mutex);
    free(health);
}

void vgpu_health_look(struct vgpu_health *health, struct vgpu_health_state *state)
{
    struct timespec limit = vgpu_health_after(FIRST_MILLISECONDS);

    *state = (struct vgpu_health_state){0};
    if (!health)
        return;
    pthread_mutex_lock(&health->mutex);
    for (int error = 0; !health->read_at && !health->waited && !error;)
        error = pthread_cond_timedwait(&health->changed, &health->mutex, &limit);
    health->waited = true;
    *state = health->shown;
    state->age = vgpu_loop_now() - (health->read_at ? health->read_at : health->opened);
    pthread_mutex_unlock(&health->mutex);
    if (state->age > STALE_NANOSECONDS && !state->trouble)
        state->trouble = "NVIDIA's management library has not answered for 15 s: the driver or the "
                         "GPU hangs; see the kernel's log";
}

void vgpu_health_read(struct vgpu_health *health, struct vgpu_mailbox_device *device)
{
    struct vgpu_health_state state;

    if (!health)
        return;
    vgpu_health_look(health, &state);
    device->known = state.known;
    memcpy(device->reading, state.reading, sizeof(device->reading));
    memcpy(device->driver, state.driver, sizeof(device->driver));
}
