/* SPDX-License-Identifier: MIT */
/* The list of those that wait is in the order of asking, and who has had its slice asks again: the
 * plainest thing that starves nobody, to compare the others with. */
#include "mediator/scheduler/scheduler.h"

static struct vgpu_tenant *fifo_choose(struct vgpu_scheduler *scheduler, uint64_t now)
{
    (void)now;
    return scheduler->first;
}

const struct vgpu_policy vgpu_policy_fifo = {
    .name = "fifo",
    .choose = fifo_choose,
};
