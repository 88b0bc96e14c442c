/* SPDX-License-Identifier: MIT */
/** Threads of a library that lives in somebody else's process. */
#ifndef VGPU_INTEROP_THREAD_H
#define VGPU_INTEROP_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <time.h>

/**
 * pthread_create for a thread that no signal is delivered to: those are for the program's threads.
 * Only what the thread raises itself finds the program's handler: its callbacks run here, and
 * memory of its own may be such that touching it calls for the handler.
 */
static inline int vgpu_thread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                     void *(*run)(void *argument), void *argument)
{
    static const int raised[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (unsigned int i = 0; i < sizeof(raised) / sizeof(raised[0]); i++)
        sigdelset(&blocked, raised[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int error = pthread_create(thread, attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/**
 * From here to vgpu_thread_let_cancel, which is given the result, the thread is not cancelled: what
 * it holds, nobody would give back. Most system calls are places where it would be.
 */
static inline int vgpu_thread_keep(void)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void vgpu_thread_let_cancel(int before)
{
    pthread_setcancelstate(before, &before);
}

/** pthread_cond_wait that does not end so. */
static inline void vgpu_thread_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    int before = vgpu_thread_keep();
    pthread_cond_wait(condition, lock);
    vgpu_thread_let_cancel(before);
}

/** The same for a second at most: for who has to look at something else, too, and where several
 *  threads wait, of which glibc may leave one asleep (its bug 25847). */
static inline void vgpu_thread_wait_second(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec++;
    int before = vgpu_thread_keep();
    pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &end);
    vgpu_thread_let_cancel(before);
}

#endif
