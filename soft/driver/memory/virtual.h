/* SPDX-License-Identifier: MIT */
/**
 * Virtual memory management: reserved addresses, physical memory, and what of the one is mapped to
 * the other. A mapping is a vgpu_allocation of kind VIRTUAL.
 *
 * Reserved addresses are host memory that is never used while nothing is mapped there, so that
 * what still runs when a mapping ends reads rubbish and does not end the process.
 */
#ifndef VGPU_SOFT_DRIVER_VIRTUAL_H
#define VGPU_SOFT_DRIVER_VIRTUAL_H

#include "soft/driver/memory/allocation.h"

/** What sizes and addresses of mappings are multiples of, in bytes. */
enum { VGPU_GRANULARITY = 2 << 20 };

static inline bool vgpu_is_whole(uint64_t number, uint64_t unit)
{
    return number % unit == 0;
}

/** Whether any of these addresses is reserved. */
bool vgpu_reserved(uint64_t address, size_t size);

/** The reservation that an address is in. */
bool vgpu_reservation_find(uint64_t address, uint64_t *start, size_t *size);

/** Ends a mapping that is no longer among the allocations. */
void vgpu_mapping_release(const struct vgpu_allocation *mapping);

/** The handle types that physical memory was created with. */
CUmemAllocationHandleType vgpu_physical_handle_types(const struct vgpu_physical *physical);

/** Tells physical memory that is mapped more than once from other memory. */
uint64_t vgpu_physical_id(const struct vgpu_physical *physical);

#endif
