/* SPDX-License-Identifier: MIT */
/** The audit's entries that no administrator's request makes: what the mediator does by itself or
 * by a signal, and what it did not let somebody do. */
#ifndef VGPU_MEDIATOR_AUDIT_H
#define VGPU_MEDIATOR_AUDIT_H

#include <stdint.h>

#include "mediator/mediator.h"

/** Who is denied something could fill the disk by asking on: of all that is denied in an hour, the
 *  audit has this many entries (the log counts the rest). */
#define VGPU_AUDIT_DENIED 60u

/** The quarantine of the VM `name`, within the transaction that is open. Errors as in store.h. */
int vgpu_audit_quarantine(struct vgpu_store *store, const char *name, const char *reason);

/** The configuration `file` was to be read again, at the signal of a process. Without a store there
 *  is no audit. */
void vgpu_audit_reload(struct vgpu_mediator *mediator, uint32_t uid, uint32_t pid, const char *file,
                       const char *outcome);

/** Logs that the store did not take an entry. */
void vgpu_audit_complain(const struct vgpu_mediator *mediator);

/** Whether one more entry about something that is denied has room in this hour. */
bool vgpu_audit_takes_denied(struct vgpu_mediator *mediator);

#endif
