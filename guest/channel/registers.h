/* SPDX-License-Identifier: MIT */
/**
 * BAR0 from user space: the mailbox exchange through mapped registers, and the locks that keep
 * processes apart. All functions are async-signal-safe (the reaper uses them after a fork).
 *
 * Locks are of the open file description, on bytes of resource0: byte 0 is held for an exchange,
 * byte 1 + n while the process that owns channel n lives. A lock of the process (F_SETLK) would not
 * do: closing any other descriptor of the same file, in any library, would drop it.
 */
#ifndef VGPU_GUEST_REGISTERS_H
#define VGPU_GUEST_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/registers.h"

#define VGPU_LOCK_MAILBOX    0
#define VGPU_LOCK_CHANNEL(n) (1 + (int)(n))

/** Takes a lock now, or returns false. */
bool vgpu_registers_try_lock(int file, int byte);
void vgpu_registers_unlock(int file, int byte);

/** Takes the mailbox's lock, trying for a minute: 0 or -EBUSY. */
int vgpu_registers_lock_mailbox(int file);

/**
 * One exchange; the caller holds the mailbox's lock. `response` has VGPU_MAILBOX_BYTES bytes.
 * Returns the response's length, or -EMSGSIZE, -EBUSY (someone who takes no lock keeps it busy),
 * -EHOSTDOWN (no mediator, or it went away), -EIO (no answer in two minutes, or an impossible one).
 */
int vgpu_registers_exchange(volatile struct vgpu_registers *registers, const void *request,
                            size_t length, void *response);

#endif
