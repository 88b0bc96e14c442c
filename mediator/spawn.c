/* SPDX-License-Identifier: MIT */
#include "mediator/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/lease.h"
#include "mediator/shared.h"
#include "protocol/assignment.h"

#define DESCRIPTORS 2 /* VGPU_WORKER_SOCKET and the one after it */
#define ABOVE       (VGPU_WORKER_IMAGES + 1)

static_assert(VGPU_WORKER_LEDGER - VGPU_WORKER_SOCKET == DESCRIPTORS, "in a row");

void vgpu_worker_init(struct vgpu_worker *worker)
{
    *worker = (struct vgpu_worker){.exit.fd = -1, .socket.fd = -1};
}

/** In the child, which is a copy of a process with one thread, so that all of libc may be used. */
static void vgpu_worker_child(const struct vgpu_worker_start *start, const int *descriptors,
                              pid_t parent)
{
    char *arguments[] = {"vgpu-worker", NULL};
    int moved[DESCRIPTORS];
    sigset_t none;

    /* A worker that hangs in a driver does not see its socket close: the kernel must end it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(VGPU_WORKER_NOT_EXECUTED);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    null = null < 0 ? null : fcntl(null, F_DUPFD_CLOEXEC, ABOVE);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(VGPU_WORKER_NOT_EXECUTED);
    if (start->error_output >= 0)
        dup2(start->error_output, STDERR_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    /* Out of the way first: a source may have the number of another one's destination. */
    for (int i = 0; i < DESCRIPTORS; i++) {
        moved[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, ABOVE);
        if (moved[i] < 0)
            _exit(VGPU_WORKER_NOT_EXECUTED);
    }
    for (int i = VGPU_WORKER_SOCKET; i < ABOVE; i++) {
        if (dup2(i < VGPU_WORKER_LEDGER ? moved[i - VGPU_WORKER_SOCKET] : null, i) < 0)
            _exit(VGPU_WORKER_NOT_EXECUTED);
    }
    close_range(ABOVE, ~0u, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    /* Mappings from the bottom up, where a program in a guest has nothing: so an address that is
     * free for pinned memory here is free there, too, and device pointers, which a driver takes
     * from the same places, are nobody's host pointers. */
    personality(ADDR_COMPAT_LAYOUT);
    /* What a driver keeps for its calls lies in large pages then, where the kernel has some:
     * natively a launch took 3 % less (docs/performance.md). */
    setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(start->path, arguments);
    _exit(VGPU_WORKER_NOT_EXECUTED);
}

static int vgpu_worker_fork(struct vgpu_worker *worker, const struct vgpu_worker_start *start,
                            const int *descriptors)
{
    pid_t parent = getpid();

    worker->pid = fork();
    if (worker->pid < 0)
        return -errno;
    if (worker->pid == 0)
        vgpu_worker_child(start, descriptors, parent);
    worker->exit.fd = (int)syscall(SYS_pidfd_open, worker->pid, 0);
    if (worker->exit.fd < 0) {
        int error = -errno;

        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
        return error;
    }
    fcntl(worker->exit.fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static void vgpu_worker_exited(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_worker *worker = vgpu_container(source, struct vgpu_worker, exit);

    (void)events;
    struct vgpu_worker_end end = vgpu_worker_wait(worker);
    worker->ended(worker, &end);
}

static void vgpu_worker_readable(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_worker *worker = vgpu_container(source, struct vgpu_worker, socket);
    struct vgpu_worker_message message;
    int result = vgpu_worker_receive(worker, &message);

    (void)events;
    if (result == -EAGAIN)
        return;
    if (result == 0 && worker->received) {
        worker->received(worker, &message);
        return;
    }
    /* Closed, or talking out of turn: it is done for, and `ended` will say so. Killed before its
     * socket closes, or it might end in order. */
    if (result != -EPIPE)
        vgpu_worker_kill(worker);
    vgpu_loop_remove(worker->loop, &worker->socket);
}

static int vgpu_worker_watch(struct vgpu_worker *worker, struct vgpu_loop *loop)
{
    int error = vgpu_loop_add(loop, &worker->exit, EPOLLIN);

    if (!error)
        error = vgpu_loop_add(loop, &worker->socket, EPOLLIN);
    worker->loop = loop;
    return error;
}

int vgpu_worker_run(struct vgpu_worker *worker, struct vgpu_loop *loop,
                    const struct vgpu_worker_start *start)
{
    int sockets[2] = {-1, -1};
    int page_fd = -1;
    void *page;
    int error;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    error = vgpu_shared_create("vgpu-worker", sizeof(*worker->page), &page_fd, &page);
    if (error)
        goto close_sockets;
    worker->page = page;
    worker->page->is_spare = start->is_spare;
    strncpy(worker->page->driver, start->driver, sizeof(worker->page->driver) - 1);
    const int descriptors[DESCRIPTORS] = {sockets[1], page_fd};
    error = vgpu_worker_fork(worker, start, descriptors);
    if (error) {
        munmap(page, sizeof(*worker->page));
        worker->page = NULL;
        goto close_sockets;
    }
    worker->loop = NULL;
    worker->socket.fd = sockets[0];
    worker->exit.ready = vgpu_worker_exited;
    worker->socket.ready = vgpu_worker_readable;
    sockets[0] = -1;
    if (loop)
        error = vgpu_worker_watch(worker, loop);
    if (error)
        vgpu_worker_end(worker);
close_sockets:
    if (page_fd >= 0)
        close(page_fd);
    if (sockets[0] >= 0)
        close(sockets[0]);
    close(sockets[1]);
    return error;
}

int vgpu_worker_serve(struct vgpu_worker *worker, const struct vgpu_worker_service *service)
{
    struct vgpu_worker_page *page = worker->page;
    bool window = service->window >= 0;
    int images = service->images ? service->images->folder : -1;

    page->channel = service->channel;
    page->has_window = window;
    page->offset = service->offset;
    page->size = service->size;
    page->lease.state = service->lease;
    page->watch.limit = service->watchdog;
    page->lease.window = VGPU_LEASE_WINDOW;
    page->has_images = images >= 0;
    if (service->images && page->has_images)
        page->images.room = vgpu_images_room(service->images);
    strncpy(page->name, service->name, sizeof(page->name) - 1);
    const int descriptors[VGPU_ASSIGNED] = {
        service->ledger,
        service->window,
        window ? service->doorbell : -1,
        window ? service->interrupt : -1,
        images,
    };
    return vgpu_assignment_send(worker->socket.fd, descriptors, STDERR_FILENO);
}

int vgpu_worker_move(struct vgpu_worker *from, struct vgpu_worker *to, struct vgpu_loop *loop)
{
    int error = 0;

    to->pid = from->pid;
    to->page = from->page;
    to->loop = from->loop;
    vgpu_loop_move(from->loop, &from->exit, &to->exit, EPOLLIN);
    vgpu_loop_move(from->loop, &from->socket, &to->socket, EPOLLIN);
    from->page = NULL;
    if (!to->loop && loop)
        error = vgpu_worker_watch(to, loop);
    if (error)
        vgpu_worker_end(to);
    return error;
}

int vgpu_worker_send(struct vgpu_worker *worker, enum vgpu_worker_op op, const void *data,
                     size_t length)
{
    struct vgpu_worker_message message = {.op = op, .length = (uint32_t)length};

    if (length > sizeof(message.data))
        return -EMSGSIZE;
    if (length)
        memcpy(message.data, data, length);
    if (send(worker->socket.fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return -errno;
    return 0;
}

int vgpu_worker_receive(struct vgpu_worker *worker, struct vgpu_worker_message *message)
{
    ssize_t bytes = recv(worker->socket.fd, message, sizeof(*message), MSG_DONTWAIT | MSG_TRUNC);
    const size_t fixed = offsetof(struct vgpu_worker_message, data);

    if (bytes < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
    if (bytes == 0)
        return -EPIPE;
    if ((size_t)bytes < fixed || (size_t)bytes > sizeof(*message) ||
        message->length > (size_t)bytes - fixed)
        return -EBADMSG;
    return 0;
}

void vgpu_worker_kill(struct vgpu_worker *worker)
{
    if (worker->exit.fd >= 0)
        syscall(SYS_pidfd_send_signal, worker->exit.fd, SIGKILL, NULL, 0);
}

struct vgpu_worker_end vgpu_worker_wait(struct vgpu_worker *worker)
{
    struct vgpu_worker_end end = {0};
    siginfo_t info = {0};

    while (waitid(P_PIDFD, (id_t)worker->exit.fd, &info, WEXITED) < 0 && errno == EINTR)
        continue;
    end.signaled = info.si_code != CLD_EXITED;
    end.status = info.si_status;
    if (worker->loop) {
        vgpu_loop_remove(worker->loop, &worker->exit);
        vgpu_loop_remove(worker->loop, &worker->socket);
    } else {
        close(worker->exit.fd);
        close(worker->socket.fd);
        worker->exit.fd = worker->socket.fd = -1;
    }
    return end;
}

void vgpu_worker_end(struct vgpu_worker *worker)
{
    vgpu_worker_kill(worker);
    vgpu_worker_wait(worker);
    vgpu_worker_release(worker);
}

void vgpu_worker_release(struct vgpu_worker *worker)
{
    if (worker->page)
        munmap(worker->page, sizeof(*worker->page));
    worker->page = NULL;
}

void vgpu_worker_describe_end(const struct vgpu_worker *worker, const struct vgpu_worker_end *end,
                              char *text, size_t size)
{
    uint32_t error = __atomic_load_n(&worker->page->exit_error, __ATOMIC_RELAXED);

    if (end->signaled)
        snprintf(text, size, "was killed by signal %d (%s)", end->status, strsignal(end->status));
    else if (end->status == VGPU_WORKER_EXIT_OK)
        snprintf(text, size, "ended though nobody asked it to");
    else if (end->status == VGPU_WORKER_EXIT_SETUP)
        snprintf(text, size, "could not set itself up");
    else if (end->status == VGPU_WORKER_EXIT_DRIVER)
        snprintf(text, size, "could not use the driver (CUDA error %u)", error);
    else if (end->status == VGPU_WORKER_EXIT_PROTOCOL)
        snprintf(text, size, "found garbage in the ring");
    else if (end->status == VGPU_WORKER_NOT_EXECUTED)
        snprintf(text, size,
                 "could not be executed; is the program there? see worker= in mediator.conf(5)");
    else
        snprintf(text, size, "exited with status %d", end->status);
}
