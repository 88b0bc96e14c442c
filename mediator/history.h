/* SPDX-License-Identifier: MIT */
/** Brings what VMs use, and the faults they have, to the store once a minute: a mediator that is
 *  killed loses at most that. Without a store only the counts in memory are kept. */
#ifndef VGPU_MEDIATOR_HISTORY_H
#define VGPU_MEDIATOR_HISTORY_H

#include "mediator/mediator.h"

/** Starts. Returns 0 or a negative errno. */
int vgpu_history_open(struct vgpu_mediator *mediator);
/** Writes what is left, and stops. */
void vgpu_history_close(struct vgpu_mediator *mediator);

/** Writes now. Returns 0, also without a store, or what the store said. */
int vgpu_history_write(struct vgpu_mediator *mediator);

/** "crash", ...: the word of the store and of metrics. */
const char *vgpu_fault_name(enum vgpu_fault kind);

/** A fault of this VM's; `detail` is printable. */
void vgpu_history_fault(struct vgpu_vm *vm, enum vgpu_fault kind, const char *detail);

#endif
