/* SPDX-License-Identifier: MIT */
/**
 * The admin socket: who connects gets one snapshot and the end of the connection.
 *
 * The snapshot is text: lines of fields separated by tabs, in two blocks separated by an empty
 * line. Each block has a first line of field names and then one line per object. The first block is
 * the mediator, the second the VMs that it has seen. Fields may be added; readers go by name.
 *
 *   mediator: version, protocol, driver, library, gpu, driver_version, memory_total (bytes),
 *             uptime_ns, refused (connections that got no VM)
 *   VMs:      vm, id, state (connected, away), pool, priority, sessions, channels_open,
 *             channels_failed, workers, calls, bytes_to_device, bytes_from_device, gpu_ns, p50_ns
 *             and p99_ns (round trips as guests measured them), round_trips, memory_used,
 *             memory_quota (bytes), refused (mailbox requests, second connections), garbage
 *             (violations of the protocol)
 */
#ifndef VGPU_MEDIATOR_ADMIN_H
#define VGPU_MEDIATOR_ADMIN_H

struct vgpu_mediator;

/** Sends a snapshot to a client that was just accepted, and hangs up; never waits for it. */
void vgpu_admin_serve(struct vgpu_mediator *mediator, int socket);

#endif
