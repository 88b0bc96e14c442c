/* SPDX-License-Identifier: MIT */
/**
 * Memory of the software GPU: one reserved range of host virtual addresses (the arena) from which
 * device allocations are made, and host ranges that kernels may also reach.
 *
 * A device pointer is a plain host address. Every access of a kernel is checked against the pages
 * that are allocated, so a wild pointer is an error of the kernel and never a fault of the process.
 *
 * Threads: allocate, free, map and unmap serialise on an internal lock. vgpu_memory_accessible() is
 * lock-free and may run at the same time; freeing memory that a running kernel uses is the
 * caller's error, as it is with CUDA, and gives that kernel a fault or stale data, never a crash.
 */
#ifndef VGPU_SOFT_MEMORY_H
#define VGPU_SOFT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_memory;

/** An arena of `size` bytes (rounded up to whole pages; address space only until it is used). */
int vgpu_memory_create(size_t size, struct vgpu_memory **out);
void vgpu_memory_destroy(struct vgpu_memory *memory);

/** Allocates `size` > 0 bytes of zeroed memory, 512-byte aligned; -ENOMEM when there is no room. */
int vgpu_memory_allocate(struct vgpu_memory *memory, size_t size, uint64_t *address);

/** Frees what vgpu_memory_allocate() returned; -EINVAL for any other address (double free too). */
int vgpu_memory_free(struct vgpu_memory *memory, uint64_t address);

/** Finds the allocation that holds `address`; -ENOENT when it is in none. Either output may be
 * NULL. */
int vgpu_memory_find(struct vgpu_memory *memory, uint64_t address, uint64_t *base, size_t *size);

/** Bytes not allocated and bytes in all. */
void vgpu_memory_info(struct vgpu_memory *memory, size_t *free_bytes, size_t *total_bytes);

/** Counts `size` bytes that are not in the arena as device memory, or no longer; -ENOMEM if there
 * are not so many free. */
int vgpu_memory_charge(struct vgpu_memory *memory, size_t size);
void vgpu_memory_discharge(struct vgpu_memory *memory, size_t size);

/** Lets kernels reach `size` bytes of host memory at its own address. The caller keeps it mapped.
 */
int vgpu_memory_map_host(struct vgpu_memory *memory, uint64_t address, size_t size);
int vgpu_memory_unmap_host(struct vgpu_memory *memory, uint64_t address);

/**
 * Lets kernels that are launched in `memory` reach what is allocated in another arena, now or
 * later, or no longer. Slower than their own. -ENOSPC if there are too many peers.
 */
int vgpu_memory_set_peer(struct vgpu_memory *memory, struct vgpu_memory *peer, bool reached);

/**
 * From now on accesses of kernels are checked to the byte, allocations are kept apart, and what is
 * freed is not used again for as long as there is other room. Slow; before the first launch.
 */
int vgpu_memory_be_exact(struct vgpu_memory *memory);

/** Says in words where an address is that no kernel may use: "12 bytes behind 400 bytes at 0x..."
 */
void vgpu_memory_describe(struct vgpu_memory *memory, uint64_t address, char *text, size_t size);

/** True if all `size` bytes at `address` may be read and written by a kernel. */
bool vgpu_memory_accessible(const struct vgpu_memory *memory, uint64_t address, size_t size);

#endif
