/* SPDX-License-Identifier: MIT */
#include "mediator/config_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/registers.h"

static bool vgpu_config_number(const char *text, const char **end, uint64_t *number)
{
    char *after;

    if (!isdigit((unsigned char)*text)) /* strtoull would take a sign */
        return false;
    errno = 0;
    *number = strtoull(text, &after, 10);
    *end = after;
    return errno == 0;
}

bool vgpu_config_parse_quota(const char *text, struct vgpu_quota *quota)
{
    static const char units[] = "KMGT";
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(text, &end, &number) || number == 0)
        return false;
    quota->is_percent = strcmp(end, "%") == 0;
    if (quota->is_percent) {
        quota->amount = number;
        return number <= 100;
    }
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (*end && (!unit || end[1]))
        return false;
    uint64_t factor = unit ? 1ull << 10 * (unit - units + 1) : 1;
    return !__builtin_mul_overflow(number, factor, &quota->amount);
}

bool vgpu_config_parse_address(const char *text, struct sockaddr_storage *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    const char *port = strrchr(text, ':'), *end;
    char host[INET6_ADDRSTRLEN + 2];
    uint64_t number;

    *address = (struct sockaddr_storage){0};
    if (strcmp(text, "none") == 0)
        return true;
    if (!port || (size_t)(port - text) >= sizeof(host) ||
        !vgpu_config_number(port + 1, &end, &number) || *end || number > UINT16_MAX)
        return false;
    memcpy(host, text, (size_t)(port - text));
    host[port - text] = '\0';
    v4.sin_port = v6.sin6_port = htons((uint16_t)number);
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(address, &v4, sizeof(v4));
        return true;
    }
    size_t length = strlen(host);
    if (length < 2 || host[0] != '[' || host[length - 1] != ']')
        return false;
    host[length - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1)
        return false;
    memcpy(address, &v6, sizeof(v6));
    return true;
}

#define QUOTA_ALLOWED "bytes with an optional K, M, G or T, or 1% to 100% of the GPU's memory"

static const char *vgpu_config_copy(char *to, size_t size, const char *value, const char *allowed)
{
    if (!*value || strlen(value) >= size)
        return allowed;
    memcpy(to, value, strlen(value) + 1);
    return NULL;
}

static const char *vgpu_config_path(char *to, size_t size, const char *value)
{
    if (*value != '/')
        return "an absolute path";
    return vgpu_config_copy(to, size, value,
                            size == VGPU_CONFIG_SOCKET ? "a path of at most 107 bytes"
                                                       : "a shorter path");
}

static const char *set_device_socket(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path(place->config->device_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_process_socket(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path(place->config->process_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_admin_socket(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path(place->config->admin_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_admin_group(const struct vgpu_config_place *place, const char *value)
{
    const char *allowed = getgrnam(value) ? NULL : "a group of this host (see getent group)";

    return allowed
               ? allowed
               : vgpu_config_copy(place->config->admin_group, sizeof(place->config->admin_group),
                                  value, "a group with a name of at most 63 bytes");
}

static const char *set_driver(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_parse_driver(value, &place->config->driver) ? NULL : "auto, cuda or soft";
}

static const char *set_cuda_library(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_copy(place->config->cuda_library, sizeof(place->config->cuda_library), value,
                            "a path or file name of 1 to 255 bytes");
}

static const char *set_soft_library(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path(place->config->soft_library, sizeof(place->config->soft_library),
                            value);
}

static const char *set_worker(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path(place->config->worker, sizeof(place->config->worker), value);
}

static const char *set_memory_quota(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_parse_quota(value, &place->config->memory_quota) ? NULL : QUOTA_ALLOWED;
}

/** An absolute path, or "none". */
static const char *vgpu_config_path_or_none(char *path, const char *value)
{
    if (strcmp(value, "none") != 0)
        return vgpu_config_path(path, PATH_MAX, value) ? "an absolute path, or none" : NULL;
    *path = '\0';
    return NULL;
}

static const char *set_store(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path_or_none(place->config->store, value);
}

static const char *set_image_cache(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_path_or_none(place->config->image_cache, value);
}

static const char *set_image_cache_size(const struct vgpu_config_place *place, const char *value)
{
    struct vgpu_quota size;

    if (!vgpu_config_parse_quota(value, &size) || size.is_percent)
        return "bytes with an optional K, M, G or T";
    place->config->image_cache_size = size.amount;
    return NULL;
}

/** A number from `least` to `most`, for which `allowed` are the words. */
static const char *vgpu_config_count(const char *value, uint32_t least, uint32_t most,
                                     const char *allowed, uint32_t *count)
{
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(value, &end, &number) || *end || number < least || number > most)
        return allowed;
    *count = (uint32_t)number;
    return NULL;
}

static const char *vgpu_config_channels(const char *value, uint32_t *channels)
{
    return vgpu_config_count(value, 1, VGPU_DOORBELL_MAX, "a number from 1 to 256", channels);
}

static const char *set_max_channels(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_channels(value, &place->config->max_channels);
}

static const char *set_spare_workers(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_count(value, 0, VGPU_CONFIG_SPARES_MAX, "a number from 0 to 16",
                             &place->config->spare_workers);
}

static const char *set_scheduler(const struct vgpu_config_place *place, const char *value)
{
    const struct vgpu_policy *policy = vgpu_policy_find(value);

    if (!policy)
        return "wfq, urgency, fifo or deadline";
    place->config->scheduler = policy;
    return NULL;
}

static const char *set_slice(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_count(value, 1, VGPU_CONFIG_SLICE_MAX, "milliseconds from 1 to 100",
                             &place->config->slice);
}

static const char *set_metrics(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_parse_address(value, &place->config->metrics)
               ? NULL
               : "none, or an address and a port: 127.0.0.1:9841 or [::1]:9841";
}

static const char *set_stop_timeout(const struct vgpu_config_place *place, const char *value)
{
    return vgpu_config_count(value, 0, VGPU_CONFIG_STOP_MAX, "seconds from 0 to 3600",
                             &place->config->stop_timeout);
}

static const char *set_log_level(const struct vgpu_config_place *place, const char *value)
{
    if (strcmp(value, "error") == 0)
        place->config->log_level = VGPU_LOG_ERROR;
    else if (strcmp(value, "warning") == 0)
        place->config->log_level = VGPU_LOG_WARNING;
    else if (strcmp(value, "info") == 0)
        place->config->log_level = VGPU_LOG_INFO;
    else
        return "error, warning or info";
    return NULL;
}

static const char *set_vm_memory_quota(const struct vgpu_config_place *place, const char *value)
{
    place->vm->has_memory_quota = true;
    return vgpu_config_parse_quota(value, &place->vm->memory_quota) ? NULL : QUOTA_ALLOWED;
}

static const char *set_vm_max_channels(const struct vgpu_config_place *place, const char *value)
{
    place->vm->has_max_channels = true;
    return vgpu_config_channels(value, &place->vm->max_channels);
}

static const char *set_vm_reservation(const struct vgpu_config_place *place, const char *value)
{
    uint64_t budget, period;
    const char *end;

    if (!vgpu_config_number(value, &end, &budget) || *end != '/' ||
        !vgpu_config_number(end + 1, &end, &period) || *end || budget == 0 || budget > period ||
        period > VGPU_CONFIG_PERIOD_MAX)
        return "BUDGET/PERIOD in milliseconds, such as 8/33, of at most 10000";
    place->vm->reservation =
        (struct vgpu_reservation){.budget = (uint32_t)budget, .period = (uint32_t)period};
    return NULL;
}

static const char *set_vm_priority(const struct vgpu_config_place *place, const char *value)
{
    place->vm->has_priority = vgpu_priority_find(value, &place->vm->priority);
    return place->vm->has_priority ? NULL : "low, medium or high";
}

const struct vgpu_config_key vgpu_config_mediator_keys[] = {
    {"device-socket", .set = set_device_socket},
    {"process-socket", .set = set_process_socket},
    {"admin-socket", .set = set_admin_socket},
    {"admin-group", .set = set_admin_group},
    {"driver", .set = set_driver},
    {"cuda-library", .set = set_cuda_library},
    {"soft-library", .set = set_soft_library},
    {"worker", .set = set_worker},
    {"memory-quota", .set = set_memory_quota},
    {"image-cache", .set = set_image_cache},
    {"image-cache-size", .set = set_image_cache_size},
    {"store", .set = set_store},
    {"max-channels-per-vm", .set = set_max_channels},
    {"spare-workers", .set = set_spare_workers},
    {"scheduler", .set = set_scheduler},
    {"slice", .set = set_slice},
    {"metrics", .set = set_metrics},
    {"stop-timeout", .set = set_stop_timeout},
    {"log-level", .set = set_log_level},
    {.name = NULL},
};

const struct vgpu_config_key vgpu_config_vm_keys[] = {
    {"memory-quota", .set = set_vm_memory_quota},
    {"max-channels", .set = set_vm_max_channels},
    {"weight", .limit = "weight"},
    {"share-cap", .limit = "share_cap"},
    {"rate", .limit = "rate"},
    {"queue-depth", .limit = "queue_depth"},
    {"watchdog", .limit = "watchdog"},
    {"fault-limit", .limit = "fault_limit"},
    {"reservation", .set = set_vm_reservation},
    {"priority", .set = set_vm_priority},
    {.name = NULL},
};

/** The limit of this name in vgpu_limits. */
static const char *vgpu_config_limit(struct vgpu_vm_limits *limits, const char *name,
                                     const char *value)
{
    uint32_t which = 0;
    const char *end;
    uint64_t number;

    while (strcmp(vgpu_limits[which].name, name) != 0)
        which++;
    if (!vgpu_config_number(value, &end, &number) || *end || number < vgpu_limits[which].least ||
        number > vgpu_limits[which].most)
        return vgpu_limits[which].allowed;
    *vgpu_limit_of(limits, which) = number;
    return NULL;
}

const char *vgpu_config_set(const struct vgpu_config_key *key,
                            const struct vgpu_config_place *place, const char *value)
{
    return key->limit ? vgpu_config_limit(&place->vm->limits, key->limit, value)
                      : key->set(place, value);
}

bool vgpu_config_parse_driver(const char *text, enum vgpu_driver_choice *choice)
{
    static const char *const names[] = {
        [VGPU_DRIVER_AUTO] = "auto", [VGPU_DRIVER_CUDA] = "cuda", [VGPU_DRIVER_SOFT] = "soft"};

    for (uint32_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *choice = (enum vgpu_driver_choice)i;
            return true;
        }
    }
    return false;
}
