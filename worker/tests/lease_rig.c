/* SPDX-License-Identifier: MIT */
#include "worker/tests/lease_rig.h"

#include <sys/socket.h>
#include <unistd.h>

struct lease_rig lease_rig_open(uint32_t state)
{
    struct lease_rig rig = {.channel = fixture_open_context()};
    int sockets[2];

    fixture_load(rig.channel, "image");
    fake.queued = true;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets), 0);
    rig.worker = &rig.channel->worker;
    rig.worker->socket = sockets[0];
    rig.mediator = sockets[1];
    rig.lease = &rig.channel->page.lease;
    rig.lease->state = state;
    rig.lease->window = LEASE_RIG_WINDOW;
    return rig;
}

void lease_rig_close(struct lease_rig *rig)
{
    close(rig->worker->socket);
    close(rig->mediator);
    fixture_close(rig->channel);
}

void lease_rig_know_all(struct lease_rig *rig, uint32_t nanoseconds)
{
    for (uint32_t i = 0; i < VGPU_LEASE_KINDS; i++)
        rig->worker->lease.estimates[i] = nanoseconds;
}

bool lease_rig_launch(struct lease_rig *rig, uint32_t stream)
{
    const struct vgpu_call_header header = {.call = VGPU_CALL_vgpuLaunch, .context = CONTEXT};

    if (!vgpu_lease_admits(rig->worker, &header))
        return false;
    assert_int_equal(fixture_launch(rig->channel, stream), CUDA_SUCCESS);
    return true;
}
