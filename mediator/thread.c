/* SPDX-License-Identifier: MIT */
#include "mediator/thread.h"

#include <signal.h>

int vgpu_thread_start(pthread_t *thread, void *(*run)(void *user), void *user)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}
