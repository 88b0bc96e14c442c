/* SPDX-License-Identifier: MIT */
/** When kernels ran: VGPU_SOFT_TIMELINE=FILE adds a line to FILE for each launch, "BEGIN END
 * PROCESS KERNEL", with times in nanoseconds of the monotonic clock. Processes that share the file
 * share the line of time, as they do a GPU. */
#ifndef VGPU_SOFT_TIMELINE_H
#define VGPU_SOFT_TIMELINE_H

#include <stdbool.h>

/** Whether the environment asks for it. Any thread. */
bool vgpu_timeline_wanted(void);

/** A launch that ran from `begin` to `end`, seconds. Any thread. */
void vgpu_timeline_add(const char *kernel, double begin, double end);

#endif
