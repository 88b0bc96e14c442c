/* SPDX-License-Identifier: MIT */
#include "mediator/config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/config_keys.h"
#include "mediator/paths.h"
#include "protocol/registers.h"

struct vgpu_config_reader {
    struct vgpu_config_place place;
    FILE *file;
    FILE *errors;
    const char *name;
    int line;
    int first_error; /* line; 0: none yet */
    bool in_mediator;
    bool in_unknown; /* a section that was complained about: its keys are not */
    uint32_t mediator_sections;
    uint32_t seen; /* keys of this section, by their index in its table */
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
    if (vgpu_config_find_vm(reader->place.config, name)) {
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
    vm->next = reader->place.config->vms;
    reader->place.config->vms = vm;
    reader->place.vm = vm;
}

/** inih tells of a section only with its first key and cuts long names: so the line is read here.
 */
static void vgpu_config_section(struct vgpu_config_reader *reader, const char *line)
{
    char name[512];
    size_t length = strcspn(line, "]");

    reader->in_mediator = reader->in_unknown = false;
    reader->place.vm = NULL;
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
    const struct vgpu_config_key *keys =
        reader->place.vm ? vgpu_config_vm_keys : vgpu_config_mediator_keys;

    (void)section;
    if (reader->in_unknown)
        return 1;
    if (!reader->place.vm && !reader->in_mediator) {
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
        const char *allowed = vgpu_config_set(&keys[i], &reader->place, value);
        if (allowed)
            vgpu_config_error(reader, "%s: \"%s\" is not %s", name, value, allowed);
        return 1;
    }
    vgpu_config_list_keys(reader, name, keys);
    return 1;
}

static void vgpu_config_same_socket(struct vgpu_config_reader *reader)
{
    const struct vgpu_config *config = reader->place.config;

    if (strcmp(config->device_socket, config->process_socket) == 0 ||
        strcmp(config->device_socket, config->admin_socket) == 0 ||
        strcmp(config->process_socket, config->admin_socket) == 0)
        vgpu_config_error(reader, "device-socket, process-socket and admin-socket must differ");
}

int vgpu_config_read(struct vgpu_config *config, FILE *file, const char *name, FILE *errors)
{
    struct vgpu_config_reader reader = {
        .place.config = config, .file = file, .errors = errors, .name = name};

    ini_allow_multiline = false;
    errno = 0;
    int result = ini_parse_stream(vgpu_config_line, &reader, vgpu_config_key, &reader);
    int error = errno ? errno : EIO;
    if (ferror(file))
        return -error;
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
