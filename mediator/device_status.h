/* SPDX-License-Identifier: MIT */
/** Answers to what a guest's management library asks: the VM's GPU and who uses it. */
#ifndef VGPU_MEDIATOR_DEVICE_STATUS_H
#define VGPU_MEDIATOR_DEVICE_STATUS_H

#include "mediator/session.h"
#include "protocol/device_status.h"

void vgpu_device_status(const struct vgpu_session *session, struct vgpu_mailbox_device *device);

/** The processes of the session's VM, of all its sessions, from the `first` on. */
void vgpu_device_processes(const struct vgpu_session *session, uint32_t first,
                           struct vgpu_mailbox_processes *processes);

/** Measures how busy each VM keeps the GPU, once a second from now on. Returns 0 or -errno. */
int vgpu_device_watch(struct vgpu_mediator *mediator);

#endif
