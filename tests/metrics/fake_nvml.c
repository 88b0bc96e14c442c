/* SPDX-License-Identifier: MIT */
/**
 * A management library for tests: answers with what the file $FAKE_NVML says, a word and a number a
 * line. "lost 1": the GPU does not answer any more; "hang 1": nor does the library. A new number of
 * "xid" is an error of the GPU.
 */
#include <nvml.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAKE __attribute__((visibility("default")))

static bool find(const char *word, unsigned long long *value)
{
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "re") : NULL;
    char name[64];
    bool found = false;

    while (file && !found && fscanf(file, "%63s %llu", name, value) == 2)
        found = strcmp(name, word) == 0;
    if (file)
        fclose(file);
    return found;
}

static nvmlReturn_t answer(const char *word, unsigned long long *value)
{
    unsigned long long set;

    while (find("hang", &set) && set)
        usleep(10000);
    if (find("lost", &set) && set)
        return NVML_ERROR_GPU_IS_LOST;
    return find(word, value) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t answer_word(const char *word, unsigned int *value)
{
    unsigned long long wide;
    nvmlReturn_t result = answer(word, &wide);

    if (result == NVML_SUCCESS)
        *value = (unsigned int)wide;
    return result;
}

static void *idle(void *nothing)
{
    while (true)
        pause();
    return nothing;
}

/* As NVIDIA's, it has a thread of its own, which takes the signals that its starter would. */
FAKE nvmlReturn_t nvmlInit_v2(void)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, idle, NULL) == 0 && pthread_detach(thread) == 0
               ? NVML_SUCCESS
               : NVML_ERROR_UNKNOWN;
}

FAKE nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    *device = NULL;
    return strncmp(uuid, "GPU-", 4) == 0 ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

FAKE nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    snprintf(version, length, "999.1");
    return NVML_SUCCESS;
}

FAKE nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor,
                                           unsigned int *value)
{
    (void)device;
    (void)sensor;
    return answer_word("temperature", value);
}

FAKE nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device,
                                                    nvmlTemperatureThresholds_t which,
                                                    unsigned int *value)
{
    (void)device;
    return which == NVML_TEMPERATURE_THRESHOLD_SLOWDOWN ? answer_word("slowdown", value)
                                                        : NVML_ERROR_NOT_SUPPORTED;
}

FAKE nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *value)
{
    (void)device;
    return answer_word("power", value);
}

FAKE nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *value)
{
    (void)device;
    return answer_word("power_limit", value);
}

FAKE nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t which,
                                         unsigned int *value)
{
    (void)device;
    return which == NVML_CLOCK_SM ? answer_word("clock_sm", value) : NVML_ERROR_NOT_SUPPORTED;
}

FAKE nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device,
                                                         unsigned long long *value)
{
    (void)device;
    return answer("clock_events", value);
}

FAKE nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current,
                                       nvmlEnableState_t *pending)
{
    unsigned int value;
    nvmlReturn_t result = answer_word("ecc", &value);

    (void)device;
    if (result == NVML_SUCCESS)
        *current = *pending = value ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return result;
}

FAKE nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type,
                                              nvmlEccCounterType_t counter,
                                              unsigned long long *count)
{
    (void)device;
    (void)counter;
    return answer(type == NVML_MEMORY_ERROR_TYPE_CORRECTED ? "corrected" : "uncorrected", count);
}

FAKE nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *use)
{
    (void)device;
    use->memory = 0;
    return answer_word("utilization", &use->gpu);
}

FAKE nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    (void)device;
    memory->total = 1ull << 40;
    memory->reserved = 0;
    return answer("memory_used", &memory->used);
}

FAKE nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    static int one;

    *set = (nvmlEventSet_t)(void *)&one;
    return NVML_SUCCESS;
}

FAKE nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
                                           nvmlEventSet_t set)
{
    (void)device;
    (void)set;
    return types & nvmlEventTypeXidCriticalError ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

FAKE nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                      unsigned int milliseconds)
{
    static unsigned long long last;
    unsigned long long xid = 0;

    (void)set;
    usleep((milliseconds < 50 ? milliseconds : 50) * 1000); /* tests do not have all day */
    if (answer("xid", &xid) != NVML_SUCCESS || xid == last)
        return NVML_ERROR_TIMEOUT;
    last = xid;
    *data = (nvmlEventData_t){.eventType = nvmlEventTypeXidCriticalError, .eventData = xid};
    return NVML_SUCCESS;
}
