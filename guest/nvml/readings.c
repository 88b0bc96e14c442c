/* SPDX-License-Identifier: MIT */
/* What changes: temperature, power, clocks, errors, and how busy this VM keeps the GPU. */
#include "guest/nvml/device.h"

#define SAMPLING_MICROSECONDS 1000000u

/* Functions that say one reading of the host's GPU. */
#define WORD(function, reading)                                                                    \
    nvmlReturn_t function(nvmlDevice_t handle, unsigned int *value)                                \
    {                                                                                              \
        return vgpu_nvml_word(handle, reading, value);                                             \
    }
#define STATE(function, type, reading)                                                             \
    nvmlReturn_t function(nvmlDevice_t handle, type *value)                                        \
    {                                                                                              \
        return vgpu_nvml_word(handle, reading, (unsigned int *)value);                             \
    }
#define LONG(function, reading)                                                                    \
    nvmlReturn_t function(nvmlDevice_t handle, unsigned long long *value)                          \
    {                                                                                              \
        return vgpu_nvml_reading(handle, reading, value);                                          \
    }

WORD(nvmlDeviceGetPowerUsage, VGPU_READING_POWER)
WORD(nvmlDeviceGetPowerManagementLimit, VGPU_READING_POWER_LIMIT)
WORD(nvmlDeviceGetEnforcedPowerLimit, VGPU_READING_POWER_LIMIT_ENFORCED)
WORD(nvmlDeviceGetPowerManagementDefaultLimit, VGPU_READING_POWER_LIMIT_DEFAULT)
WORD(nvmlDeviceGetFanSpeed, VGPU_READING_FAN)
WORD(nvmlDeviceGetCurrPcieLinkGeneration, VGPU_READING_PCIE_GENERATION)
WORD(nvmlDeviceGetMaxPcieLinkGeneration, VGPU_READING_PCIE_GENERATION_MAX)
WORD(nvmlDeviceGetGpuMaxPcieLinkGeneration, VGPU_READING_PCIE_GENERATION_MAX)
WORD(nvmlDeviceGetCurrPcieLinkWidth, VGPU_READING_PCIE_WIDTH)
WORD(nvmlDeviceGetMaxPcieLinkWidth, VGPU_READING_PCIE_WIDTH_MAX)
STATE(nvmlDeviceGetPerformanceState, nvmlPstates_t, VGPU_READING_PERFORMANCE_STATE)
STATE(nvmlDeviceGetPowerState, nvmlPstates_t, VGPU_READING_PERFORMANCE_STATE)
STATE(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, VGPU_READING_PERSISTENCE)
LONG(nvmlDeviceGetTotalEnergyConsumption, VGPU_READING_ENERGY)
LONG(nvmlDeviceGetCurrentClocksEventReasons, VGPU_READING_CLOCK_EVENTS)
LONG(nvmlDeviceGetCurrentClocksThrottleReasons, VGPU_READING_CLOCK_EVENTS)
LONG(nvmlDeviceGetSupportedClocksEventReasons, VGPU_READING_CLOCK_EVENTS_SUPPORTED)
LONG(nvmlDeviceGetSupportedClocksThrottleReasons, VGPU_READING_CLOCK_EVENTS_SUPPORTED)

nvmlReturn_t nvmlDeviceGetPowerManagementMode(nvmlDevice_t handle, nvmlEnableState_t *mode)
{
    unsigned int limit;
    nvmlReturn_t error = vgpu_nvml_word(handle, VGPU_READING_POWER_LIMIT, &limit);
    if (error == NVML_SUCCESS && mode == NULL)
        error = NVML_ERROR_INVALID_ARGUMENT;
    if (error == NVML_SUCCESS)
        *mode = NVML_FEATURE_ENABLED;
    return error;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t handle, unsigned int *least,
                                                          unsigned int *most)
{
    nvmlReturn_t error = vgpu_nvml_word(handle, VGPU_READING_POWER_LIMIT_LEAST, least);
    return error ? error : vgpu_nvml_word(handle, VGPU_READING_POWER_LIMIT_MOST, most);
}

/* ---- temperature ---- */

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, nvmlTemperatureSensors_t sensor,
                                      unsigned int *degrees)
{
    if (sensor != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    return vgpu_nvml_word(handle, VGPU_READING_TEMPERATURE, degrees);
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, nvmlTemperature_t *temperature)
{
    unsigned int degrees;
    if (temperature == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (temperature->version != nvmlTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t error = nvmlDeviceGetTemperature(handle, temperature->sensorType, &degrees);
    if (error == NVML_SUCCESS)
        temperature->temperature = (int)degrees;
    return error;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t handle,
                                               nvmlTemperatureThresholds_t threshold,
                                               unsigned int *degrees)
{
    switch (threshold) {
    case NVML_TEMPERATURE_THRESHOLD_SHUTDOWN:
        return vgpu_nvml_word(handle, VGPU_READING_TEMPERATURE_SHUTDOWN, degrees);
    case NVML_TEMPERATURE_THRESHOLD_SLOWDOWN:
        return vgpu_nvml_word(handle, VGPU_READING_TEMPERATURE_SLOWDOWN, degrees);
    case NVML_TEMPERATURE_THRESHOLD_MEM_MAX:
        return vgpu_nvml_word(handle, VGPU_READING_TEMPERATURE_MEMORY_MAX, degrees);
    case NVML_TEMPERATURE_THRESHOLD_GPU_MAX:
        return vgpu_nvml_word(handle, VGPU_READING_TEMPERATURE_GPU_MAX, degrees);
    default:
        return threshold < NVML_TEMPERATURE_THRESHOLD_COUNT ? NVML_ERROR_NOT_SUPPORTED
                                                            : NVML_ERROR_INVALID_ARGUMENT;
    }
}

/* ---- clocks ---- */

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, nvmlClockType_t type, unsigned int *mhz)
{
    if (type >= NVML_CLOCK_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    return vgpu_nvml_word(handle, VGPU_READING_CLOCK_GRAPHICS + type, mhz);
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t handle, nvmlClockType_t type, unsigned int *mhz)
{
    if (type >= NVML_CLOCK_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    return vgpu_nvml_word(handle, VGPU_READING_CLOCK_MAX_GRAPHICS + type, mhz);
}

nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t handle, nvmlClockType_t type, nvmlClockId_t which,
                                unsigned int *mhz)
{
    return which == NVML_CLOCK_ID_CURRENT ? nvmlDeviceGetClockInfo(handle, type, mhz)
                                          : NVML_ERROR_NOT_SUPPORTED;
}

/* ---- errors of memory ---- */

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t handle, nvmlEnableState_t *current,
                                  nvmlEnableState_t *pending)
{
    nvmlReturn_t error = vgpu_nvml_word(handle, VGPU_READING_ECC, (unsigned int *)current);
    return error ? error : vgpu_nvml_word(handle, VGPU_READING_ECC, (unsigned int *)pending);
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t handle, nvmlMemoryErrorType_t type,
                                         nvmlEccCounterType_t counter, unsigned long long *count)
{
    if (counter != NVML_VOLATILE_ECC)
        return NVML_ERROR_NOT_SUPPORTED;
    return vgpu_nvml_reading(handle,
                             type == NVML_MEMORY_ERROR_TYPE_CORRECTED
                                 ? VGPU_READING_ECC_CORRECTED
                                 : VGPU_READING_ECC_UNCORRECTED,
                             count);
}

/* ---- work ---- */

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *utilisation)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (utilisation == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    utilisation->gpu = device.busy;
    utilisation->memory = 0; /* time of the memory bus is not measured for each VM */
    return NVML_SUCCESS;
}

static nvmlReturn_t not_used(nvmlDevice_t handle, unsigned int *per_cent, unsigned int *period)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (per_cent == NULL || period == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *per_cent = 0;
    *period = SAMPLING_MICROSECONDS;
    return NVML_SUCCESS;
}

/* Engines that CUDA does not reach, so no VM uses them. */
#define UNUSED_ENGINE(function)                                                                    \
    nvmlReturn_t function(nvmlDevice_t handle, unsigned int *per_cent, unsigned int *period)       \
    {                                                                                              \
        return not_used(handle, per_cent, period);                                                 \
    }
UNUSED_ENGINE(nvmlDeviceGetEncoderUtilization)
UNUSED_ENGINE(nvmlDeviceGetDecoderUtilization)
UNUSED_ENGINE(nvmlDeviceGetJpgUtilization)
UNUSED_ENGINE(nvmlDeviceGetOfaUtilization)

/* ---- fields ---- */

static nvmlReturn_t fill_field(nvmlDevice_t handle, nvmlFieldValue_t *field)
{
    static const struct {
        unsigned int field;
        enum vgpu_reading reading;
        nvmlValueType_t type;
    } known[] = {
        {NVML_FI_DEV_ECC_CURRENT, VGPU_READING_ECC, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_MEMORY_TEMP, VGPU_READING_TEMPERATURE_MEMORY, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, VGPU_READING_ENERGY,
         NVML_VALUE_TYPE_UNSIGNED_LONG_LONG},
        {NVML_FI_DEV_POWER_AVERAGE, VGPU_READING_POWER, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_INSTANT, VGPU_READING_POWER, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_MIN_LIMIT, VGPU_READING_POWER_LIMIT_LEAST, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_MAX_LIMIT, VGPU_READING_POWER_LIMIT_MOST, NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_DEFAULT_LIMIT, VGPU_READING_POWER_LIMIT_DEFAULT,
         NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_CURRENT_LIMIT, VGPU_READING_POWER_LIMIT_ENFORCED,
         NVML_VALUE_TYPE_UNSIGNED_INT},
        {NVML_FI_DEV_POWER_REQUESTED_LIMIT, VGPU_READING_POWER_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT},
    };
    unsigned long long value;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        /* Of the whole GPU, where a field can be asked of parts: they are not known. */
        if (known[i].field != field->fieldId || field->scopeId != 0)
            continue;
        nvmlReturn_t error = vgpu_nvml_reading(handle, known[i].reading, &value);
        if (error)
            return error;
        field->valueType = known[i].type;
        field->value.ullVal = value; /* the low half is uiVal */
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count, nvmlFieldValue_t *fields)
{
    struct vgpu_mailbox_device device;
    nvmlReturn_t error = vgpu_nvml_look(handle, &device);
    if (error)
        return error;
    if (count <= 0 || fields == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) {
        fields[i].timestamp = 0;
        fields[i].latencyUsec = 0;
        fields[i].nvmlReturn = fill_field(handle, &fields[i]);
    }
    return NVML_SUCCESS;
}
