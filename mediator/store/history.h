/* SPDX-License-Identifier: MIT */
/** Usage and faults of VMs, registered or not, added up for each hour. Errors as in store.h. */
#ifndef VGPU_MEDIATOR_STORE_HISTORY_H
#define VGPU_MEDIATOR_STORE_HISTORY_H

#include "mediator/store/store.h"

/** Strings are the caller's. */
struct vgpu_store_usage {
    const char *vm;
    uint64_t hour; /* since 1970 */
    uint64_t gpu_nanoseconds;
    uint64_t calls;
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
};

struct vgpu_store_faults {
    const char *vm;
    uint64_t hour; /* since 1970 */
    const char *kind;
    uint64_t count;
    const char *detail; /* of the last one */
};

/** Add to what is there of this VM and hour. */
int vgpu_store_add_usage(struct vgpu_store *store, const struct vgpu_store_usage *usage);
int vgpu_store_add_faults(struct vgpu_store *store, const struct vgpu_store_faults *faults);

/** Of how many actions the audit keeps, the newest: so that nobody fills the disk with them. */
#define VGPU_STORE_ACTIONS_MOST 1000000u

/** Forgets what is older than `hour`, of the audit, too; and of that what is too much. */
int vgpu_store_expire(struct vgpu_store *store, uint64_t hour);

/** From the hour `since` on, the oldest first, and no more than `most`; `vm` NULL: of all. */
int vgpu_store_list_usage(struct vgpu_store *store, uint64_t since, const char *vm, uint32_t most,
                          void (*each)(const struct vgpu_store_usage *usage, void *user),
                          void *user);
int vgpu_store_list_faults(struct vgpu_store *store, uint64_t since, const char *vm, uint32_t most,
                           void (*each)(const struct vgpu_store_faults *faults, void *user),
                           void *user);

#endif
