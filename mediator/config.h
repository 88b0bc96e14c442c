/* SPDX-License-Identifier: MIT */
/**
 * The mediator's configuration: defaults, then one INI file. Everything in the file is checked
 * before anything starts.
 *
 *   [mediator]
 *   device-socket=/run/vgpu/device.sock    for QEMU, mode 0600
 *   process-socket=/run/vgpu/process.sock  for programs on this host, mode 0666
 *   admin-socket=/run/vgpu/admin.sock      for vgpu-admin, mode 0660, of the admin-group
 *   admin-group=vgpu                       whose members administer, beside root
 *   driver=auto|cuda|soft                  auto: NVIDIA's if it works, else the software GPU
 *   cuda-library=libcuda.so.1
 *   soft-library=PATH  worker=PATH         default: where they were installed or built
 *   memory-quota=100%                      of GPU memory, for each VM: bytes, K, M, G, T or %
 *   image-cache=/var/cache/vgpu            folder of images that VMs have loaded; none: no cache
 *   image-cache-size=8G                    bytes with an optional K, M, G or T
 *   max-channels-per-vm=64                 1..256
 *   spare-workers=2                        0..16 that wait with the driver initialised
 *   scheduler=wfq|urgency|fifo|deadline    how VMs share the GPU
 *   slice=4                                milliseconds of a VM's turn while many wait, 1..100
 *   store=/var/lib/vgpu/vgpu.db            what administrators set, and usage; or none
 *   metrics=127.0.0.1:9841                 where Prometheus is served, [ADDRESS6]:PORT too; or none
 *   stop-timeout=10                        seconds that running work has when it is to stop
 *   log-level=error|warning|info
 *
 *   [vm NAME]
 *   memory-quota=  max-channels=           instead of the defaults above
 *   weight=50                              1..100, of its share of GPU time
 *   share-cap=100                          1..100 per cent of GPU time at most; 100: no cap
 *   rate=0                                 calls a second at most; 0: no limit
 *   queue-depth=0                          calls that wait for the worker; 0: no limit
 *   watchdog=30                            seconds that a piece of work may take
 *   fault-limit=3                          faults until it is quarantined; 0: never
 *   reservation=8/33                       milliseconds of GPU time in every so many, with
 *                                          scheduler=deadline; 1..10000
 *   priority=low|medium|high               instead of what the device says
 */
#ifndef VGPU_MEDIATOR_CONFIG_H
#define VGPU_MEDIATOR_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "mediator/log.h"
#include "mediator/scheduler/policy.h"
#include "mediator/vm_limits.h"

#define VGPU_CONFIG_VM_NAME    64u
#define VGPU_CONFIG_SPARES_MAX 16u
#define VGPU_CONFIG_SLICE_MAX  100u
#define VGPU_CONFIG_PERIOD_MAX 10000u
#define VGPU_CONFIG_STOP_MAX   3600u
#define VGPU_CONFIG_SOCKET     sizeof(((struct sockaddr_un *)0)->sun_path)

enum vgpu_driver_choice {
    VGPU_DRIVER_AUTO,
    VGPU_DRIVER_CUDA,
    VGPU_DRIVER_SOFT,
};

struct vgpu_quota {
    uint64_t amount; /* bytes, or percent of the GPU's memory (1..100) */
    bool is_percent;
};

/** Of GPU time, in milliseconds; all 0: none. */
struct vgpu_reservation {
    uint32_t budget, period;
};

struct vgpu_config_vm {
    struct vgpu_config_vm *next;
    char name[VGPU_CONFIG_VM_NAME];
    struct vgpu_quota memory_quota;
    uint32_t max_channels;
    struct vgpu_vm_limits limits; /* memory is not of interest: memory_quota is */
    enum vgpu_priority priority;
    struct vgpu_reservation reservation;
    bool has_memory_quota;
    bool has_max_channels;
    bool has_priority;
};

struct vgpu_config {
    char device_socket[VGPU_CONFIG_SOCKET];
    char process_socket[VGPU_CONFIG_SOCKET];
    char admin_socket[VGPU_CONFIG_SOCKET];
    char admin_group[64];
    enum vgpu_driver_choice driver;
    char cuda_library[256];
    char soft_library[256];
    char worker[PATH_MAX];
    struct vgpu_quota memory_quota;
    char image_cache[PATH_MAX];      /* "": none */
    uint64_t image_cache_size;       /* bytes */
    struct sockaddr_storage metrics; /* AF_UNSPEC: none */
    char store[PATH_MAX];            /* "": none */
    uint32_t max_channels;
    uint32_t spare_workers; /* 0..VGPU_CONFIG_SPARES_MAX */
    const struct vgpu_policy *scheduler;
    uint32_t slice;        /* milliseconds */
    uint32_t stop_timeout; /* seconds */
    enum vgpu_log_level log_level;
    struct vgpu_config_vm *vms;
};

/** Defaults; the paths of our own parts are looked for beside the running program. */
void vgpu_config_init(struct vgpu_config *config);
void vgpu_config_destroy(struct vgpu_config *config);

/**
 * Reads an INI file over what is there. Each error is one line "name:line: what is wrong and what
 * is allowed" on `errors`. Returns 0, -EINVAL if there was any error, or -errno of reading.
 */
int vgpu_config_read(struct vgpu_config *config, FILE *file, const char *name, FILE *errors);

/** "auto", "cuda" or "soft"; false if it is none of them. */
bool vgpu_config_parse_driver(const char *text, enum vgpu_driver_choice *choice);

/** "16G", "25%": bytes with an optional K, M, G or T, or 1% to 100%; false if it is not that. */
bool vgpu_config_parse_quota(const char *text, struct vgpu_quota *quota);

/** "127.0.0.1:9841", "[::1]:9841", or "none", which is AF_UNSPEC; false if it is none of them. */
bool vgpu_config_parse_address(const char *text, struct sockaddr_storage *address);

/** True for a VM name that can be a word of the log: 1..63 of letters, digits and ._:- */
bool vgpu_config_vm_name_ok(const char *name, size_t size);

/** What this VM may have: its own settings or the defaults. */
uint64_t vgpu_config_memory_quota(const struct vgpu_config *config, const char *vm,
                                  uint64_t memory_total);
uint32_t vgpu_config_max_channels(const struct vgpu_config *config, const char *vm);
void vgpu_config_limits(const struct vgpu_config *config, const char *vm,
                        struct vgpu_vm_limits *limits);
struct vgpu_reservation vgpu_config_reservation(const struct vgpu_config *config, const char *vm);
/** False if nothing is said of it. */
bool vgpu_config_priority(const struct vgpu_config *config, const char *vm,
                          enum vgpu_priority *priority);

#endif
