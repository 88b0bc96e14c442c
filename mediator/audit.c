/* SPDX-License-Identifier: MIT */
#include "mediator/audit.h"

#include <time.h>
#include <unistd.h>

#include "mediator/log.h"
#include "mediator/store/store.h"

int vgpu_audit_quarantine(struct vgpu_store *store, const char *name, const char *reason)
{
    const struct vgpu_store_action action = {
        .time = (uint64_t)time(NULL),
        .uid = (uint32_t)getuid(),
        .pid = (uint32_t)getpid(),
        .verb = "quarantine",
        .target = name,
        .arguments = "{\"by\":\"vgpu-mediator\"}",
        .outcome = reason,
    };

    return vgpu_store_log_action(store, &action);
}

void vgpu_audit_complain(const struct vgpu_mediator *mediator)
{
    vgpu_log(VGPU_LOG_ERROR,
             "cannot write to the audit in the store %s: %s; see the disk it is on, and "
             "vgpu-mediator --check-store",
             mediator->config.store, vgpu_store_error(mediator->store));
}

void vgpu_audit_reload(struct vgpu_mediator *mediator, uint32_t uid, uint32_t pid, const char *file,
                       const char *outcome)
{
    const struct vgpu_store_action action = {
        .time = (uint64_t)time(NULL),
        .uid = uid,
        .pid = pid,
        .verb = "reload",
        .target = file,
        .arguments = "{\"by\":\"SIGHUP\"}",
        .outcome = outcome,
    };

    if (mediator->store && vgpu_store_log_action(mediator->store, &action))
        vgpu_audit_complain(mediator);
}

bool vgpu_audit_takes_denied(struct vgpu_mediator *mediator)
{
    uint64_t hour = (uint64_t)time(NULL) / 3600;

    if (!mediator->store)
        return false;
    if (mediator->denied_hour != hour)
        mediator->denied = 0;
    mediator->denied_hour = hour;
    return mediator->denied++ < VGPU_AUDIT_DENIED;
}
