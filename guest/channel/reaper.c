/* SPDX-License-Identifier: MIT */
/*
 * Between the fork and the end of the reaper only async-signal-safe functions are called: the
 * process may have other threads, and their locks are copied as they were.
 */
#include "guest/channel/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/channel/registers.h"
#include "protocol/mailbox.h"
#include "protocol/window.h"

enum { REAPER_RESOURCE0, REAPER_PROCESS, REAPER_STOP, REAPER_DESCRIPTORS };

/* A fork that runs no handlers of the program, and whose end raises no SIGCHLD. */
static pid_t quiet_fork(void)
{
    return (pid_t)syscall(SYS_clone, 0ul, 0ul, 0ul, 0ul, 0ul);
}

static void close_from(unsigned first)
{
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    unsigned end = limit.rlim_cur < 65536 ? (unsigned)limit.rlim_cur : 65536;
    for (unsigned descriptor = first; descriptor < end; descriptor++)
        close((int)descriptor);
}

/* Moves the descriptors that are needed to 0..2 and closes all others, the terminal's too. */
static void keep_descriptors(int resource0, int process, int stop)
{
    int descriptors[REAPER_DESCRIPTORS] = {resource0, process, stop};
    for (int i = 0; i < REAPER_DESCRIPTORS; i++) {
        if (descriptors[i] >= 0)
            descriptors[i] = fcntl(descriptors[i], F_DUPFD, REAPER_DESCRIPTORS);
    }
    for (int i = 0; i < REAPER_DESCRIPTORS; i++) {
        if (descriptors[i] >= 0)
            dup2(descriptors[i], i);
        else
            close(i);
    }
    close_from(REAPER_DESCRIPTORS);
}

/* True when the owner has ended, false when the channel was closed in order. */
static bool await_end(bool have_process)
{
    struct pollfd events[2] = {{.fd = have_process ? REAPER_PROCESS : -1, .events = POLLIN},
                               {.fd = REAPER_STOP, .events = POLLIN}};
    while (poll(events, 2, -1) < 0 && errno == EINTR)
        continue;
    char byte;
    if (events[1].revents & POLLIN)
        return read(REAPER_STOP, &byte, 1) != 1;
    return true; /* the process ended, or executed another program */
}

static void close_channel(const struct vgpu_reaped *reaped)
{
    struct vgpu_channel_entry *entry = vgpu_window_entry(reaped->window, reaped->channel);
    struct vgpu_mailbox_channel_close request = {
        .request.op = VGPU_MAILBOX_CHANNEL_CLOSE, .channel = reaped->channel, .key = reaped->key};
    uint8_t response[VGPU_MAILBOX_BYTES];
    if (vgpu_registers_lock_mailbox(REAPER_RESOURCE0) != 0)
        return;
    /* acquire: pairs with the mediator's release store */
    if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) != VGPU_CHANNEL_FREE &&
        entry->key == reaped->key)
        vgpu_registers_exchange(reaped->registers, &request, sizeof(request), response);
}

static _Noreturn void reap(const struct vgpu_reaped *reaped, int process, int stop)
{
    setsid();
    prctl(PR_SET_NAME, "vgpu-reaper");
    if (chdir("/") < 0)
        _exit(1);
    keep_descriptors(reaped->resource0, process, stop);
    if (await_end(process >= 0))
        close_channel(reaped);
    _exit(0);
}

int vgpu_reaper_start(const struct vgpu_reaped *reaped)
{
    int stop[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stop) < 0)
        return -errno;
    /* A kernel without pidfd: the socket's end tells, unless a forked child still holds it. */
    int process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    sigset_t all, before;
    sigfillset(&all);
    /* Blocked for good in the reaper: neither the terminal's signals nor the program's handlers. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = quiet_fork();
    if (child == 0) {
        close(stop[1]);
        pid_t reaper = quiet_fork();
        if (reaper == 0)
            reap(reaped, process, stop[0]);
        _exit(reaper < 0);
    }
    int error = child < 0 ? -errno : 0;
    int status = 0;
    if (child > 0) {
        while (waitpid(child, &status, __WALL) < 0 && errno == EINTR)
            continue;
        if (status != 0)
            error = -EAGAIN;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (process >= 0)
        close(process);
    close(stop[0]);
    if (error) {
        close(stop[1]);
        return error;
    }
    return stop[1];
}

void vgpu_reaper_stop(int reaper)
{
    char byte = 0;
    send(reaper, &byte, 1, MSG_NOSIGNAL);
    close(reaper);
}
