/* SPDX-License-Identifier: MIT */
/** Metrics of the host's GPU, as NVIDIA's management library tells them; none without it, but for
 *  whether it is in health. */
#include "mediator/metrics/families.h"

#include <inttypes.h>
#include <nvml.h>
#include <stdio.h>

#define LABELS(...)                                                                                \
    (const struct vgpu_label[])                                                                    \
    {                                                                                              \
        {"gpu_uuid", metrics->gpu_uuid}, __VA_ARGS__                                               \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

/** Writes a reading, which is in 10^-digits of the metric's unit. */
static void write_reading(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics *metrics, enum vgpu_reading reading,
                          uint32_t digits)
{
    const struct vgpu_health_state *health = &metrics->health;

    if (!(health->known & 1ull << reading))
        return;
    if (digits)
        vgpu_text_fraction(text, name, LABELS(), health->reading[reading], digits);
    else
        vgpu_text_number(text, name, LABELS(), health->reading[reading]);
}

#define READING(function, reading, digits)                                                         \
    static void function(struct vgpu_text *text, const char *name,                                 \
                         const struct vgpu_metrics *metrics)                                       \
    {                                                                                              \
        write_reading(text, name, metrics, reading, digits);                                       \
    }
READING(write_temperature, VGPU_READING_TEMPERATURE, 0)
READING(write_slowdown, VGPU_READING_TEMPERATURE_SLOWDOWN, 0)
READING(write_memory_temperature, VGPU_READING_TEMPERATURE_MEMORY, 0)
READING(write_power, VGPU_READING_POWER, 3)
READING(write_power_limit, VGPU_READING_POWER_LIMIT_ENFORCED, 3)
READING(write_energy, VGPU_READING_ENERGY, 3)
READING(write_fan, VGPU_READING_FAN, 2)
READING(write_ecc, VGPU_READING_ECC, 0)

static void write_clocks(struct vgpu_text *text, const char *name,
                         const struct vgpu_metrics *metrics)
{
    static const struct {
        const char *label;
        enum vgpu_reading reading;
    } clocks[] = {
        {"graphics", VGPU_READING_CLOCK_GRAPHICS},
        {"sm", VGPU_READING_CLOCK_SM},
        {"memory", VGPU_READING_CLOCK_MEMORY},
        {"video", VGPU_READING_CLOCK_VIDEO},
    };

    for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++) {
        if (metrics->health.known & 1ull << clocks[i].reading)
            vgpu_text_number(text, name, LABELS({"clock", clocks[i].label}, ),
                             metrics->health.reading[clocks[i].reading] * 1000000);
    }
}

/** What slows the GPU down: of the reasons that NVML has, those that an operator acts on. */
static void write_throttles(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics *metrics)
{
    static const struct {
        const char *label;
        uint64_t bit;
    } reasons[] = {
        {"power_cap", nvmlClocksEventReasonSwPowerCap},
        {"hw_slowdown", nvmlClocksThrottleReasonHwSlowdown},
        {"sw_thermal", nvmlClocksEventReasonSwThermalSlowdown},
        {"hw_thermal", nvmlClocksThrottleReasonHwThermalSlowdown},
        {"hw_power_brake", nvmlClocksThrottleReasonHwPowerBrakeSlowdown},
    };

    if (!(metrics->health.known & 1ull << VGPU_READING_CLOCK_EVENTS))
        return;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
        vgpu_text_number(text, name, LABELS({"reason", reasons[i].label}, ),
                         (metrics->health.reading[VGPU_READING_CLOCK_EVENTS] & reasons[i].bit) !=
                             0);
    }
}

static void write_ecc_errors(struct vgpu_text *text, const char *name,
                             const struct vgpu_metrics *metrics)
{
    const struct vgpu_health_state *health = &metrics->health;

    if (health->known & 1ull << VGPU_READING_ECC_CORRECTED)
        vgpu_text_number(text, name, LABELS({"type", "corrected"}, ),
                         health->reading[VGPU_READING_ECC_CORRECTED]);
    if (health->known & 1ull << VGPU_READING_ECC_UNCORRECTED)
        vgpu_text_number(text, name, LABELS({"type", "uncorrected"}, ),
                         health->reading[VGPU_READING_ECC_UNCORRECTED]);
}

static void write_memory_used(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics *metrics)
{
    if (metrics->health.has_memory)
        vgpu_text_number(text, name, LABELS(), metrics->health.memory_used);
}

static void write_utilization(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics *metrics)
{
    if (metrics->health.has_utilization)
        vgpu_text_fraction(text, name, LABELS(), metrics->health.utilization, 2);
}

static void for_xids(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                     bool times)
{
    for (uint32_t i = 0; i < metrics->health.xid_count; i++) {
        const struct vgpu_health_xid *xid = &metrics->health.xid[i];
        char number[24];

        snprintf(number, sizeof(number), "%" PRIu64, xid->number);
        vgpu_text_number(text, name, LABELS({"xid", number}, ), times ? xid->last : xid->count);
    }
}

static void write_xids(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics)
{
    for_xids(text, name, metrics, false);
}

static void write_xid_times(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics *metrics)
{
    for_xids(text, name, metrics, true);
}

static void write_health(struct vgpu_text *text, const char *name,
                         const struct vgpu_metrics *metrics)
{
    vgpu_text_number(text, name, LABELS(), metrics->health.trouble == NULL);
}

static void write_age(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics)
{
    if (metrics->health.age)
        vgpu_text_fraction(text, name, LABELS(), metrics->health.age, 9);
}

const struct vgpu_family vgpu_health_families[] = {
    {"vgpu_gpu_health", "gauge",
     "1 unless the GPU is lost, in an error that only a reset ends, or "
     "does not answer.",
     NULL, write_health},
    {"vgpu_gpu_readings_age_seconds", "gauge", "Time since the GPU's readings were taken.", NULL,
     write_age},
    {"vgpu_gpu_utilization_ratio", "gauge",
     "Time in which a kernel ran, of NVML's last sample; whoever it was for.", NULL,
     write_utilization},
    {"vgpu_gpu_memory_used_bytes", "gauge", "Memory of the GPU in use, whoever has it.", NULL,
     write_memory_used},
    {"vgpu_gpu_temperature_celsius", "gauge", "Temperature of the GPU.", NULL, write_temperature},
    {"vgpu_gpu_slowdown_temperature_celsius", "gauge", "Temperature at which it slows down.", NULL,
     write_slowdown},
    {"vgpu_gpu_memory_temperature_celsius", "gauge", "Temperature of the GPU's memory.", NULL,
     write_memory_temperature},
    {"vgpu_gpu_power_watts", "gauge", "Power that the GPU draws.", NULL, write_power},
    {"vgpu_gpu_power_limit_watts", "gauge", "Power that it may draw.", NULL, write_power_limit},
    {"vgpu_gpu_energy_joules_total", "counter", "Energy since the driver was loaded.", NULL,
     write_energy},
    {"vgpu_gpu_fan_ratio", "gauge", "Speed of the fan, of 1.", NULL, write_fan},
    {"vgpu_gpu_clock_hertz", "gauge", "Clocks of the GPU.", NULL, write_clocks},
    {"vgpu_gpu_throttled", "gauge", "1 if the GPU is slowed down for this reason.", NULL,
     write_throttles},
    {"vgpu_gpu_ecc_enabled", "gauge", "1 if errors of the GPU's memory are corrected.", NULL,
     write_ecc},
    {"vgpu_gpu_ecc_errors_total", "counter", "Errors of memory since the driver was loaded.", NULL,
     write_ecc_errors},
    {"vgpu_gpu_xid_errors_total", "counter", "Errors of the GPU since the mediator started.", NULL,
     write_xids},
    {"vgpu_gpu_xid_last_timestamp_seconds", "gauge", "When the last one was, since 1970.", NULL,
     write_xid_times},
    {NULL, NULL, NULL, NULL, NULL},
};
