/* SPDX-License-Identifier: MIT */
#include "mediator/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/paths.h"
#include "protocol/registers.h"

struct vgpu_config_reader {
    struct vgpu_config *config;
    FILE *file;
    FILE *errors;
    const char *name;
    int line;
    int first_error; /* line; 0: none yet */
    bool in_mediator;
    bool in_unknown;           /* a section that was complained about: its keys are not */
    struct vgpu_config_vm *vm; /* section; NULL: not a [vm] */
    uint32_t mediator_sections;
    uint32_t seen; /* keys of this section, by their index in its table */
};

/** One key of a section. `set` returns NULL, or what is allowed. */
struct vgpu_config_key {
    const char *name;
    const char *(*set)(struct vgpu_config_reader *reader, const char *value);
};

static void vgpu_config_error(struct vgpu_config_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void vgpu_config_error(struct vgpu_config_reader *reader, const char *format, ...)
{
    va_list arguments;

    if (!reader->first_error)
        reader->first_error = reader->line;
    fprintf(reader->errors, "%s:%d: ", reader->name, reader->line);
    va_start(arguments, format);
    vfprintf(reader->errors, format, arguments);
    va_end(arguments);
    fputc('\n', reader->errors);
}

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

static const char *set_device_socket(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path(reader->config->device_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_process_socket(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path(reader->config->process_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_admin_socket(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path(reader->config->admin_socket, VGPU_CONFIG_SOCKET, value);
}

static const char *set_admin_group(struct vgpu_config_reader *reader, const char *value)
{
    const char *allowed = getgrnam(value) ? NULL : "a group of this host (see getent group)";

    return allowed
               ? allowed
               : vgpu_config_copy(reader->config->admin_group, sizeof(reader->config->admin_group),
                                  value, "a group with a name of at most 63 bytes");
}

static const char *set_driver(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_parse_driver(value, &reader->config->driver) ? NULL : "auto, cuda or soft";
}

static const char *set_cuda_library(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_copy(reader->config->cuda_library, sizeof(reader->config->cuda_library),
                            value, "a path or file name of 1 to 255 bytes");
}

static const char *set_soft_library(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path(reader->config->soft_library, sizeof(reader->config->soft_library),
                            value);
}

static const char *set_worker(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path(reader->config->worker, sizeof(reader->config->worker), value);
}

static const char *set_memory_quota(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_parse_quota(value, &reader->config->memory_quota) ? NULL : QUOTA_ALLOWED;
}

/** An absolute path, or "none". */
static const char *vgpu_config_path_or_none(char *path, const char *value)
{
    if (strcmp(value, "none") != 0)
        return vgpu_config_path(path, PATH_MAX, value) ? "an absolute path, or none" : NULL;
    *path = '\0';
    return NULL;
}

static const char *set_store(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path_or_none(reader->config->store, value);
}

static const char *set_image_cache(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_path_or_none(reader->config->image_cache, value);
}

static const char *set_image_cache_size(struct vgpu_config_reader *reader, const char *value)
{
    struct vgpu_quota size;

    if (!vgpu_config_parse_quota(value, &size) || size.is_percent)
        return "bytes with an optional K, M, G or T";
    reader->config->image_cache_size = size.amount;
    return NULL;
}

static const char *vgpu_config_channels(const char *value, uint32_t *channels)
{
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(value, &end, &number) || *end || number < 1 ||
        number > VGPU_DOORBELL_MAX)
        return "a number from 1 to 256";
    *channels = (uint32_t)number;
    return NULL;
}

static const char *set_max_channels(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_channels(value, &reader->config->max_channels);
}

static const char *set_spare_workers(struct vgpu_config_reader *reader, const char *value)
{
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(value, &end, &number) || *end || number > VGPU_CONFIG_SPARES_MAX)
        return "a number from 0 to 16";
    reader->config->spare_workers = (uint32_t)number;
    return NULL;
}

static const char *set_scheduler(struct vgpu_config_reader *reader, const char *value)
{
    const struct vgpu_policy *policy = vgpu_policy_find(value);

    if (!policy)
        return "wfq, urgency, fifo or deadline";
    reader->config->scheduler = policy;
    return NULL;
}

static const char *set_slice(struct vgpu_config_reader *reader, const char *value)
{
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(value, &end, &number) || *end || number < 1 ||
        number > VGPU_CONFIG_SLICE_MAX)
        return "milliseconds from 1 to 100";
    reader->config->slice = (uint32_t)number;
    return NULL;
}

static const char *set_metrics(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_parse_address(value, &reader->config->metrics)
               ? NULL
               : "none, or an address and a port: 127.0.0.1:9841 or [::1]:9841";
}

static const char *set_stop_timeout(struct vgpu_config_reader *reader, const char *value)
{
    const char *end;
    uint64_t number;

    if (!vgpu_config_number(value, &end, &number) || *end || number > VGPU_CONFIG_STOP_MAX)
        return "seconds from 0 to 3600";
    reader->config->stop_timeout = (uint32_t)number;
    return NULL;
}

static const char *set_log_level(struct vgpu_config_reader *reader, const char *value)
{
    if (strcmp(value, "error") == 0)
        reader->config->log_level = VGPU_LOG_ERROR;
    else if (strcmp(value, "warning") == 0)
        reader->config->log_level = VGPU_LOG_WARNING;
    else if (strcmp(value, "info") == 0)
        reader->config->log_level = VGPU_LOG_INFO;
    else
        return "error, warning or info";
    return NULL;
}

static const char *set_vm_memory_quota(struct vgpu_config_reader *reader, const char *value)
{
    reader->vm->has_memory_quota = true;
    return vgpu_config_parse_quota(value, &reader->vm->memory_quota) ? NULL : QUOTA_ALLOWED;
}

static const char *set_vm_max_channels(struct vgpu_config_reader *reader, const char *value)
{
    reader->vm->has_max_channels = true;
    return vgpu_config_channels(value, &reader->vm->max_channels);
}

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

static const char *set_vm_weight(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "weight", value);
}

static const char *set_vm_share_cap(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "share_cap", value);
}

static const char *set_vm_rate(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "rate", value);
}

static const char *set_vm_queue_depth(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "queue_depth", value);
}

static const char *set_vm_watchdog(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "watchdog", value);
}

static const char *set_vm_fault_limit(struct vgpu_config_reader *reader, const char *value)
{
    return vgpu_config_limit(&reader->vm->limits, "fault_limit", value);
}

static const char *set_vm_reservation(struct vgpu_config_reader *reader, const char *value)
{
    uint64_t budget, period;
    const char *end;

    if (!vgpu_config_number(value, &end, &budget) || *end != '/' ||
        !vgpu_config_number(end + 1, &end, &period) || *end || budget == 0 || budget > period ||
        period > VGPU_CONFIG_PERIOD_MAX)
        return "BUDGET/PERIOD in milliseconds, such as 8/33, of at most 10000";
    reader->vm->reservation =
        (struct vgpu_reservation){.budget = (uint32_t)budget, .period = (uint32_t)period};
    return NULL;
}

static const char *set_vm_priority(struct vgpu_config_reader *reader, const char *value)
{
    reader->vm->has_priority = vgpu_priority_find(value, &reader->vm->priority);
    return reader->vm->has_priority ? NULL : "low, medium or high";
}

static const struct vgpu_config_key vgpu_mediator_keys[] = {
    {"device-socket", set_device_socket},
    {"process-socket", set_process_socket},
    {"admin-socket", set_admin_socket},
    {"admin-group", set_admin_group},
    {"driver", set_driver},
    {"cuda-library", set_cuda_library},
    {"soft-library", set_soft_library},
    {"worker", set_worker},
    {"memory-quota", set_memory_quota},
    {"image-cache", set_image_cache},
    {"image-cache-size", set_image_cache_size},
    {"store", set_store},
    {"max-channels-per-vm", set_max_channels},
    {"spare-workers", set_spare_workers},
    {"scheduler", set_scheduler},
    {"slice", set_slice},
    {"metrics", set_metrics},
    {"stop-timeout", set_stop_timeout},
    {"log-level", set_log_level},
    {NULL, NULL},
};

static const struct vgpu_config_key vgpu_vm_keys[] = {
    {"memory-quota", set_vm_memory_quota},
    {"max-channels", set_vm_max_channels},
    {"weight", set_vm_weight},
    {"share-cap", set_vm_share_cap},
    {"rate", set_vm_rate},
    {"queue-depth", set_vm_queue_depth},
    {"watchdog", set_vm_watchdog},
    {"fault-limit", set_vm_fault_limit},
    {"reservation", set_vm_reservation},
    {"priority", set_vm_priority},
    {NULL, NULL},
};

static struct vgpu_config_vm *vgpu_config_find_vm(const struct vgpu_config *config,
                                                  const char *name)
{
    for (struct vgpu_config_vm *vm = config->vms; vm; vm = vm->next) {
        if (strcmp(vm->name, name) == 0)
            return vm;
    }
    return NULL;
}

static void vgpu_config_vm_section(struct vgpu_config_reader *reader, const char *name)
{
    struct vgpu_config_vm *vm;

    if (!vgpu_config_vm_name_ok(name, VGPU_CONFIG_VM_NAME)) {
        vgpu_config_error(reader,
                          "\"%s\" cannot be the name of a VM; allowed are 1 to 63 letters, "
                          "digits and any of ._:-",
                          name);
        reader->in_unknown = true;
        return;
    }
    if (vgpu_config_find_vm(reader->config, name)) {
        vgpu_config_error(reader, "a second section [vm %s]; put its keys into the first", name);
        reader->in_unknown = true;
        return;
    }
    vm = calloc(1, sizeof(*vm));
    if (!vm) {
        vgpu_config_error(reader, "out of memory");
        reader->in_unknown = true;
        return;
    }
    memcpy(vm->name, name, strlen(name) + 1);
    vgpu_limits_init(&vm->limits);
    vm->next = reader->config->vms;
    reader->config->vms = vm;
    reader->vm = vm;
}

/** inih tells of a section only with its first key and cuts long names: so the line is read here.
 */
static void vgpu_config_section(struct vgpu_config_reader *reader, const char *line)
{
    char name[512];
    size_t length = strcspn(line, "]");

    reader->in_mediator = reader->in_unknown = false;
    reader->vm = NULL;
    reader->seen = 0;
    if (line[length] != ']' || length >= sizeof(name)) {
        reader->in_unknown = true; /* inih reports it */
        return;
    }
    memcpy(name, line, length);
    name[length] = '\0';
    if (strcmp(name, "mediator") == 0) {
        reader->in_mediator = true;
        if (++reader->mediator_sections == 2)
            vgpu_config_error(reader, "a second section [mediator]; put its keys into the first");
    } else if (strncmp(name, "vm ", 3) == 0) {
        vgpu_config_vm_section(reader, name + 3 + strspn(name + 3, " "));
    } else {
        vgpu_config_error(reader, "unknown section [%s]; allowed are [mediator] and [vm NAME]",
                          name);
        reader->in_unknown = true;
    }
}

/** The fgets of inih: counts lines, which its handler is not told. */
static char *vgpu_config_line(char *text, int size, void *stream)
{
    struct vgpu_config_reader *reader = stream;

    if (!fgets(text, size, reader->file))
        return NULL;
    reader->line++;
    if (!strchr(text, '\n') && !feof(reader->file)) {
        int byte;

        vgpu_config_error(reader, "the line is too long; at most %d bytes", size - 2);
        while ((byte = fgetc(reader->file)) != EOF && byte != '\n')
            continue;
        strcpy(text, "\n");
    }
    const char *start = text + strspn(text, " \t");
    if (*start == '[')
        vgpu_config_section(reader, start + 1);
    return text;
}

static void vgpu_config_list_keys(struct vgpu_config_reader *reader, const char *name,
                                  const struct vgpu_config_key *keys)
{
    char list[1024] = "";
    size_t used = 0;

    for (; keys->name && used < sizeof(list); keys++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
                                 keys->name);
    vgpu_config_error(reader, "unknown key \"%s\"; allowed are %s", name, list);
}

static int vgpu_config_key(void *user, const char *section, const char *name, const char *value)
{
    struct vgpu_config_reader *reader = user;
    const struct vgpu_config_key *keys = reader->vm ? vgpu_vm_keys : vgpu_mediator_keys;

    (void)section;
    if (reader->in_unknown)
        return 1;
    if (!reader->vm && !reader->in_mediator) {
        vgpu_config_error(reader, "\"%s\" is outside of a section; start with [mediator]", name);
        return 1;
    }
    for (uint32_t i = 0; keys[i].name; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        if (reader->seen & 1u << i) {
            vgpu_config_error(reader, "\"%s\" is there twice; keep one", name);
            return 1;
        }
        reader->seen |= 1u << i;
        const char *allowed = keys[i].set(reader, value);
        if (allowed)
            vgpu_config_error(reader, "%s: \"%s\" is not %s", name, value, allowed);
        return 1;
    }
    vgpu_config_list_keys(reader, name, keys);
    return 1;
}

static void vgpu_config_same_socket(struct vgpu_config_reader *reader)
{
    const struct vgpu_config *config = reader->config;

    if (strcmp(config->device_socket, config->process_socket) == 0 ||
        strcmp(config->device_socket, config->admin_socket) == 0 ||
        strcmp(config->process_socket, config->admin_socket) == 0)
        vgpu_config_error(reader, "device-socket, process-socket and admin-socket must differ");
}

int vgpu_config_read(struct vgpu_config *config, FILE *file, const char *name, FILE *errors)
{
    struct vgpu_config_reader reader = {
        .config = config, .file = file, .errors = errors, .name = name};

    ini_allow_multiline = false;
    int result = ini_parse_stream(vgpu_config_line, &reader, vgpu_config_key, &reader);
    if (ferror(file))
        return -EIO;
    if (result < 0)
        return -ENOMEM;
    if (result > 0) {
        reader.line = result;
        vgpu_config_error(&reader, "neither [section], key=value nor ;comment");
    }
    vgpu_config_same_socket(&reader);
    return reader.first_error ? -EINVAL : 0;
}

void vgpu_config_init(struct vgpu_config *config)
{
    *config = (struct vgpu_config){
        .device_socket = "/run/vgpu/device.sock",
        .process_socket = "/run/vgpu/process.sock",
        .admin_socket = "/run/vgpu/admin.sock",
        .admin_group = "vgpu",
        .driver = VGPU_DRIVER_AUTO,
        .cuda_library = "libcuda.so.1",
        .memory_quota = {.amount = 100, .is_percent = true},
        .image_cache = "/var/cache/vgpu",
        .image_cache_size = 8ull << 30,
        .max_channels = 64,
        .spare_workers = 2,
        .scheduler = &vgpu_policy_wfq,
        .slice = 4,
        .stop_timeout = 10,
        .log_level = VGPU_LOG_INFO,
    };
    vgpu_config_parse_address("127.0.0.1:9841", &config->metrics);
    vgpu_path_find(VGPU_PART_WORKER, config->worker, sizeof(config->worker));
    vgpu_path_find(VGPU_PART_SOFTWARE_GPU, config->soft_library, sizeof(config->soft_library));
}

void vgpu_config_destroy(struct vgpu_config *config)
{
    while (config->vms) {
        struct vgpu_config_vm *vm = config->vms;

        config->vms = vm->next;
        free(vm);
    }
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

bool vgpu_config_vm_name_ok(const char *name, size_t size)
{
    size_t length = strnlen(name, size);

    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= 'A' && name[i] <= 'Z') &&
            !(name[i] >= '0' && name[i] <= '9') && !strchr("._:-", name[i]))
            return false;
    }
    return true;
}

uint64_t vgpu_config_memory_quota(const struct vgpu_config *config, const char *vm,
                                  uint64_t memory_total)
{
    const struct vgpu_config_vm *own = vgpu_config_find_vm(config, vm);
    const struct vgpu_quota *quota =
        own && own->has_memory_quota ? &own->memory_quota : &config->memory_quota;

    if (quota->is_percent)
        return (uint64_t)((unsigned __int128)memory_total * quota->amount / 100);
    return quota->amount < memory_total ? quota->amount : memory_total;
}

uint32_t vgpu_config_max_channels(const struct vgpu_config *config, const char *vm)
{
    const struct vgpu_config_vm *own = vgpu_config_find_vm(config, vm);

    return own && own->has_max_channels ? own->max_channels : config->max_channels;
}

void vgpu_config_limits(const struct vgpu_config *config, const char *vm,
                        struct vgpu_vm_limits *limits)
{
    const struct vgpu_config_vm *own = vgpu_config_find_vm(config, vm);

    vgpu_limits_init(limits);
    if (own)
        *limits = own->limits;
}

struct vgpu_reservation vgpu_config_reservation(const struct vgpu_config *config, const char *vm)
{
    const struct vgpu_config_vm *own = vgpu_config_find_vm(config, vm);

    return own ? own->reservation : (struct vgpu_reservation){0};
}

bool vgpu_config_priority(const struct vgpu_config *config, const char *vm,
                          enum vgpu_priority *priority)
{
    const struct vgpu_config_vm *own = vgpu_config_find_vm(config, vm);

    if (!own || !own->has_priority)
        return false;
    *priority = own->priority;
    return true;
}
