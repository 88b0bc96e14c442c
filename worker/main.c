/* SPDX-License-Identifier: MIT */
/* vgpu-worker: takes what the mediator left open for it, gives up what it does not need, and runs.
 * It has no arguments. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/assignment.h"
#include "protocol/window.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/primitive.h"
#include "worker/worker.h"

/* Nanoseconds that the kernel may be late with what wakes us: its default is more than the shortest
 * pauses between looks at the GPU's progress. */
#define TIMER_SLACK 1000ul

/* Maps `bytes` of a descriptor that must be at least that large. NULL after a line in the log. */
static void *map(int descriptor, uint64_t offset, uint64_t bytes, const char *what)
{
    struct stat status;
    uint64_t end;
    if (fstat(descriptor, &status) < 0 || status.st_size < 0 ||
        __builtin_add_overflow(offset, bytes, &end) || end > (uint64_t)status.st_size) {
        vgpu_log("descriptor %d is no %s", descriptor, what);
        return NULL;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, (off_t)offset);
    if (memory == MAP_FAILED) {
        vgpu_log("cannot map the %s: %s", what, strerror(errno));
        return NULL;
    }
    return memory;
}

/* What no worker needs: privileges by exec, core dumps with guests' data, tracers, an orphan's
 * life. */
static int give_up(void)
{
    struct rlimit none = {0, 0}, files = {4096, 4096};
    struct pollfd mediator = {.fd = VGPU_WORKER_SOCKET, .events = POLLIN};

    prctl(PR_SET_NAME, "vgpu-worker");
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    struct rlimit have;
    if (getrlimit(RLIMIT_NOFILE, &have) == 0 && have.rlim_max > files.rlim_max &&
        setrlimit(RLIMIT_NOFILE, &files) < 0)
        return -errno;
    /* A mediator that died before PDEATHSIG was set has hung up: its process id would not say so
     * where it is 1, or where a subreaper inherits us. */
    if (poll(&mediator, 1, 0) < 0 || mediator.revents & (POLLHUP | POLLERR | POLLNVAL)) {
        vgpu_log("nobody is at the other end of descriptor %d", VGPU_WORKER_SOCKET);
        return -ENOTCONN;
    }
    return 0;
}

static int map_extent(struct vgpu_worker *worker)
{
    const struct vgpu_worker_page *page = worker->page;
    if (page->offset % VGPU_EXTENT_ALIGNMENT != 0 || page->size < VGPU_CHANNEL_BYTES) {
        vgpu_log("the channel's extent is misplaced or too small");
        return -EINVAL;
    }
    worker->extent = map(VGPU_WORKER_WINDOW, page->offset, VGPU_CHANNEL_BYTES, "window");
    if (worker->extent == NULL)
        return -EINVAL;
    int flags = fcntl(VGPU_WORKER_DOORBELL, F_GETFL);
    if (flags < 0 || fcntl(VGPU_WORKER_DOORBELL, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(VGPU_WORKER_INTERRUPT, F_GETFD) < 0) {
        vgpu_log("doorbell or interrupt is missing");
        return -EINVAL;
    }
    worker->doorbell = VGPU_WORKER_DOORBELL;
    worker->interrupt = VGPU_WORKER_INTERRUPT;
    worker->window = VGPU_WORKER_WINDOW;
    return 0;
}

/* The first half: what is known before anybody is to be served. */
static struct vgpu_worker_page *set_up(void)
{
    struct vgpu_worker_page *page = map(VGPU_WORKER_PAGE, 0, sizeof(*page), "page of a worker");
    if (page == NULL || memchr(page->driver, 0, sizeof(page->driver)) == NULL)
        return NULL;
    vgpu_log_name("unassigned");
    int error = give_up();
    if (error)
        vgpu_log("set-up failed: %s", strerror(-error));
    return error ? NULL : page;
}

/* The second half: the descriptors are there, and the page says for whom. */
static int take_up(struct vgpu_worker *worker, const struct vgpu_driver *driver,
                   struct vgpu_worker_page *page)
{
    if (memchr(page->name, 0, sizeof(page->name)) == NULL)
        return -EINVAL;
    vgpu_log_name(page->name);
    struct vgpu_ledger_page *ledger = map(VGPU_WORKER_LEDGER, 0, sizeof(*ledger), "ledger of a VM");
    if (ledger == NULL)
        return -EINVAL;
    int error = vgpu_worker_create(worker, driver, page, ledger);
    if (error)
        return error;
    worker->socket = VGPU_WORKER_SOCKET;
    if (page->has_images)
        worker->images.folder = VGPU_WORKER_IMAGES;
    error = vgpu_console_open(&worker->console);
    if (error == 0 && page->has_window)
        error = map_extent(worker);
    return error;
}

/* Waits for somebody to serve. False if the mediator hangs up before. */
static bool await_assignment(struct vgpu_primitive *primitive)
{
    const size_t head = offsetof(struct vgpu_worker_message, data);
    struct vgpu_worker_message message;
    for (;;) {
        ssize_t got = vgpu_assignment_receive(VGPU_WORKER_SOCKET, &message, 0);
        if (got == -EINTR)
            continue;
        if (got < (ssize_t)head || message.length > (size_t)got - head)
            return false;
        if (message.op == VGPU_WORKER_SERVE)
            return true;
        if (message.op != VGPU_WORKER_PROBE || !vgpu_primitive_answer(primitive, &message) ||
            send(VGPU_WORKER_SOCKET, &message, head + message.length, MSG_NOSIGNAL) < 0)
            return false;
    }
}

/* What calls of the lost channel shall return. The mediator reads it after the exit. */
static void end_with(struct vgpu_worker_page *page, CUresult error)
{
    __atomic_store_n(&page->exit_error, (uint32_t)error, __ATOMIC_RELEASE);
}

static enum vgpu_worker_exit serve(struct vgpu_worker_page *page, const struct vgpu_driver *driver,
                                   struct vgpu_primitive *primitive)
{
    static struct vgpu_worker worker;

    if (!await_assignment(primitive))
        return VGPU_WORKER_EXIT_OK;
    /* A primitive worker stays: it answers with the error. */
    if (primitive->driver_error && page->has_window) {
        end_with(page, primitive->driver_error);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    int error = take_up(&worker, driver, page);
    if (error) {
        vgpu_log("set-up failed: %s", strerror(-error));
        return VGPU_WORKER_EXIT_SETUP;
    }
    enum vgpu_worker_exit status = vgpu_loop_run(&worker, primitive);
    if (status == VGPU_WORKER_EXIT_PROTOCOL)
        end_with(page, CUDA_ERROR_UNKNOWN);
    return status;
}

int main(void)
{
    struct vgpu_driver driver = {0};
    struct vgpu_primitive primitive;

    struct vgpu_worker_page *page = set_up();
    if (page == NULL)
        return VGPU_WORKER_EXIT_SETUP;
    if (vgpu_driver_open(&driver, page->driver) < 0) {
        end_with(page, CUDA_ERROR_SHARED_OBJECT_INIT_FAILED);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    CUresult result = vgpu_driver_start(&driver);
    if (result != CUDA_SUCCESS && page->is_spare) {
        end_with(page, result);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    vgpu_primitive_init(&primitive, &driver, result);
    /* pairs with the mediator's acquire load */
    __atomic_store_n(&page->ready, 1, __ATOMIC_RELEASE);
    /* Not exit(): the driver's own handlers may wait for kernels that never end, and the kernel
     * takes everything back anyway. */
    _exit(serve(page, &driver, &primitive));
}
