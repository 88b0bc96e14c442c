/* SPDX-License-Identifier: MIT */
/**
 * Faults, and what they lead to: a VM whose work has cost so many workers their lives, with less
 * than a day from one to the next, is quarantined until an administrator clears it.
 */
#ifndef VGPU_MEDIATOR_QUARANTINE_H
#define VGPU_MEDIATOR_QUARANTINE_H

#include "mediator/mediator.h"

/** Counts a fault, with words for administrators. The VM's
 *  channels may be closed by this, which takes effect when the loop goes on. */
void vgpu_quarantine_fault(struct vgpu_mediator *mediator, struct vgpu_vm *vm, enum vgpu_fault kind,
                           const char *detail);

/** Tells the store again what it could not be told. */
void vgpu_quarantine_keep_all(struct vgpu_mediator *mediator);

/** Lets a VM in again of which the store knows nothing. */
void vgpu_quarantine_lift(struct vgpu_vm *vm);

#endif
