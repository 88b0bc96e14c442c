/* SPDX-License-Identifier: MIT */
/** The keys of the configuration file: what each may be, and where it goes. For the reader. */
#ifndef VGPU_MEDIATOR_CONFIG_KEYS_H
#define VGPU_MEDIATOR_CONFIG_KEYS_H

#include "mediator/config.h"

/** The section that is being read. */
struct vgpu_config_place {
    struct vgpu_config *config;
    struct vgpu_config_vm *vm; /* NULL: [mediator] */
};

struct vgpu_config_key {
    const char *name;
    /** Returns NULL, or what is allowed. NULL: the key is for `limit`. */
    const char *(*set)(const struct vgpu_config_place *place, const char *value);
    const char *limit; /* a name in vgpu_limits, of a VM's section */
};

/** Each ends with a key without a name. */
extern const struct vgpu_config_key vgpu_config_mediator_keys[];
extern const struct vgpu_config_key vgpu_config_vm_keys[];

/** Takes the value of a key. Returns NULL, or what is allowed, in words. */
const char *vgpu_config_set(const struct vgpu_config_key *key,
                            const struct vgpu_config_place *place, const char *value);

#endif
