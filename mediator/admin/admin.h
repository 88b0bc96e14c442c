/* SPDX-License-Identifier: MIT */
/**
 * The admin socket.
 *
 * A client sends requests, one JSON object a line of at most 16 KiB, as many as it likes:
 *
 *     {"verb": "set-weight", "vm-name": "web", "weight": 80}
 *
 * The verbs and their arguments are those of vgpu-admin(1); numbers may also be strings, with the
 * units that vgpu-admin takes. Each is answered by one line, in order:
 *
 *     {"ok": true, "result": {...} or [{...}, ...], "notes": ["..."]}
 *     {"ok": false, "error": {"code": "not-found", "message": "what, and what to do"}}
 *
 * Keys that end in _bytes, _ns, _seconds and _percent have these units. A change holds at once, and
 * is answered when it is on disk, which nothing else waits for. Codes: invalid (the request),
 * not-found, conflict (with what is there), no-store (changes need store= in the configuration),
 * denied (the peer may only look), failed (the mediator could not).
 *
 * With {"verb": "events", "follow": true} further lines come, one for each event, until the client
 * hangs up. About 64 KiB of them wait for one that does not read; then they are dropped, and an
 * event of the kind "dropped" says how many when it reads on.
 *
 * A client that sends nothing and ends its side (shutdown) gets the snapshot of vgpu-status: lines
 * of fields separated by tabs, in two blocks separated by an empty line. Each block has a first
 * line of field names and then one line per object. The first block is the mediator, the second the
 * VMs that it has seen. Fields may be added; readers go by name.
 *
 *   mediator: version, protocol, driver, library, gpu, driver_version, memory_total (bytes),
 *             uptime_ns, refused (connections that got no VM)
 *   VMs:      vm, id, state (connected, away), pool, priority, sessions, channels_open,
 *             channels_failed, workers, calls, bytes_to_device, bytes_from_device, gpu_ns, p50_ns
 *             and p99_ns (round trips as guests measured them), round_trips, memory_used,
 *             memory_quota (bytes), refused (mailbox requests, second connections), garbage
 *             (violations of the protocol)
 *
 * Who may connect is the business of the socket's mode, 0660 for the mediator's user and the
 * admin-group of its configuration (vgpu). Who may change is asked again of SO_PEERCRED and
 * SO_PEERGROUPS: root, the mediator's own user and the members of the group. Others that an
 * administrator lets in (systemd's SocketMode=, chmod) may look.
 *
 * Each client has one request served in a turn of the mediator's loop, and none while it has an
 * answer to read. There are at most 64 clients: for one more, the one that has been silent for
 * longest among those of the user with the most is hung up on.
 */
#ifndef VGPU_MEDIATOR_ADMIN_ADMIN_H
#define VGPU_MEDIATOR_ADMIN_ADMIN_H

#include <stdio.h>

struct vgpu_mediator;

/** Before connections are taken over: changes are answered when the store has them on disk. */
int vgpu_admin_open(struct vgpu_mediator *mediator);

/** Takes over a connection that was just accepted; never waits for it. */
void vgpu_admin_serve(struct vgpu_mediator *mediator, int socket);

/** Hangs up on all. */
void vgpu_admin_close(struct vgpu_mediator *mediator);

/** Of snapshot.c, for the connection. */
void vgpu_admin_snapshot(struct vgpu_mediator *mediator, FILE *out);

#endif
