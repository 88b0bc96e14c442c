/* SPDX-License-Identifier: MIT */
/** What the store says of a VM, brought to the VM that runs. */
#ifndef VGPU_MEDIATOR_REGISTRY_H
#define VGPU_MEDIATOR_REGISTRY_H

#include "mediator/mediator.h"
#include "mediator/store/store.h"

/** The VM that was seen under this name, or NULL. */
struct vgpu_vm *vgpu_registry_seen(const struct vgpu_mediator *mediator, const char *name);

/** Gives a VM that connects what is stored for it. Returns 0, also if there is nothing, or a
 *  negative errno: the store cannot be read, and the VM, which may be quarantined, not let in. */
int vgpu_registry_load(struct vgpu_mediator *mediator, struct vgpu_vm *vm);

/** The pool and priority of a VM that is not registered: what its device names, unless the
 *  configuration says something else; without a device the defaults. One that is registered has its
 *  own already. */
void vgpu_registry_place(struct vgpu_mediator *mediator, struct vgpu_vm *vm);

/** The record was committed: it holds from now on for the VM of its name, if there is one. A VM
 *  that is quarantined by it loses its channels. */
void vgpu_registry_apply(struct vgpu_mediator *mediator, const struct vgpu_store_vm *record);

/** The configuration was read again. */
void vgpu_registry_refresh(struct vgpu_mediator *mediator, struct vgpu_vm *vm);

/** The VM of this name is registered no more: it goes on with what the configuration says. */
void vgpu_registry_forget(struct vgpu_mediator *mediator, const char *name);

/** Brings a record up to what the mediator knows of the VM's faults and the store could not be
 * told; `vm` NULL: nothing. */
void vgpu_registry_catch_up(const struct vgpu_vm *vm, struct vgpu_store_vm *record);

/** Takes all that a VM has of the GPU away: its workers are killed. */
void vgpu_registry_revoke(struct vgpu_mediator *mediator, const struct vgpu_vm *vm);

#endif
