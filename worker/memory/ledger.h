/* SPDX-License-Identifier: MIT */
/**
 * GPU memory of this worker: the VM's account, charged before memory is allocated, and the table
 * of what was allocated. For the worker's one thread; the account itself is shared.
 */
#ifndef VGPU_WORKER_LEDGER_H
#define VGPU_WORKER_LEDGER_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/worker.h"

struct vgpu_context;

struct vgpu_allocation {
    CUdeviceptr address; /* 0: the entry is free */
    uint64_t bytes;      /* as charged */
    const struct vgpu_context *context;
};

struct vgpu_ledger {
    struct vgpu_ledger_page *page; /* of the VM */
    uint64_t *charged;             /* by this worker; the mediator reads it */
    struct vgpu_allocation *table; /* open addressing, `room` is 0 or a power of two */
    size_t count, room;
};

void vgpu_ledger_init(struct vgpu_ledger *ledger, struct vgpu_ledger_page *page, uint64_t *charged);
/** Frees the table. What is charged stays so: the mediator takes it back. */
void vgpu_ledger_destroy(struct vgpu_ledger *ledger);

/** Charges the VM; false, and nothing is charged, if that goes above its quota. */
bool vgpu_ledger_charge(struct vgpu_ledger *ledger, uint64_t bytes);
void vgpu_ledger_return(struct vgpu_ledger *ledger, uint64_t bytes);

/** Notes an allocation whose bytes are charged already. Returns 0 or -ENOMEM. */
int vgpu_ledger_add(struct vgpu_ledger *ledger, CUdeviceptr address, uint64_t bytes,
                    const struct vgpu_context *context);

/** The allocation at this address; NULL: none. It is valid until the table changes. */
const struct vgpu_allocation *vgpu_ledger_find(const struct vgpu_ledger *ledger,
                                               CUdeviceptr address);

/** Forgets an allocation and returns its bytes; false if there is none at this address. */
bool vgpu_ledger_remove(struct vgpu_ledger *ledger, CUdeviceptr address);
void vgpu_ledger_remove_context(struct vgpu_ledger *ledger, const struct vgpu_context *context);

uint64_t vgpu_ledger_quota(const struct vgpu_ledger *ledger);
uint64_t vgpu_ledger_used(const struct vgpu_ledger *ledger);

#endif
