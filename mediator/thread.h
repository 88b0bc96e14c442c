/* SPDX-License-Identifier: MIT */
/** Threads beside the mediator's loop: for what waits for a disk, or for a driver. */
#ifndef VGPU_MEDIATOR_THREAD_H
#define VGPU_MEDIATOR_THREAD_H

#include <pthread.h>

/** Starts a thread, to be joined, with all signals blocked: those of the mediator are the loop's.
 *  0 or a negative errno. */
int vgpu_thread_start(pthread_t *thread, void *(*run)(void *user), void *user);

#endif
