/* SPDX-License-Identifier: MIT */
/** What the interpreter needs of a vgpu_memory beyond its public interface. */
#ifndef VGPU_SOFT_MEMORY_PAGES_H
#define VGPU_SOFT_MEMORY_PAGES_H

#include "soft/simt/memory.h"

#define VGPU_PAGE_BITS    12
#define VGPU_ADDRESS_BITS 47

/**
 * One byte for each page of the user address space, sparse: how many allocations and mapped ranges
 * are on that page. Read without a lock by kernels; lives as long as the memory.
 */
const uint8_t *vgpu_memory_pages(const struct vgpu_memory *memory);

/** The same, or a map without any page if vgpu_memory_reaches() is to be asked about each access.
 */
const uint8_t *vgpu_memory_kernel_pages(const struct vgpu_memory *memory);

/** True if the memory is exact and the bytes are within what was allocated or mapped, or if they
 * are allocated in a peer. To be asked about what the map of pages does not have. */
bool vgpu_memory_reaches(struct vgpu_memory *memory, uint64_t address, size_t size);

struct vgpu_texture_table;

/** The textures of a device are kept with its memory. */
struct vgpu_texture_table *vgpu_memory_textures(const struct vgpu_memory *memory);

#endif
