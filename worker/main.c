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
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/window.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/primitive.h"
#include "worker/worker.h"

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
static int give_up(const char *name)
{
    struct rlimit none = {0, 0}, files = {4096, 4096};
    struct pollfd mediator = {.fd = VGPU_WORKER_SOCKET, .events = POLLIN};

    prctl(PR_SET_NAME, "vgpu-worker");
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
        vgpu_log("%s: nobody is at the other end of descriptor %d", name, VGPU_WORKER_SOCKET);
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

static int set_up(struct vgpu_worker *worker, struct vgpu_driver *driver)
{
    struct vgpu_worker_page *page = map(VGPU_WORKER_PAGE, 0, sizeof(*page), "page of a worker");
    if (page == NULL || memchr(page->driver, 0, sizeof(page->driver)) == NULL ||
        memchr(page->name, 0, sizeof(page->name)) == NULL)
        return -EINVAL;
    vgpu_log_name(page->name);
    struct vgpu_ledger_page *ledger = map(VGPU_WORKER_LEDGER, 0, sizeof(*ledger), "ledger of a VM");
    if (ledger == NULL)
        return -EINVAL;
    int error = give_up(page->name);
    if (error == 0)
        error = vgpu_worker_create(worker, driver, page, ledger);
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

/* What calls of the lost channel shall return. The mediator reads it after the exit. */
static void end_with(struct vgpu_worker *worker, CUresult error)
{
    __atomic_store_n(&worker->page->exit_error, (uint32_t)error, __ATOMIC_RELEASE);
}

int main(void)
{
    static struct vgpu_worker worker;
    struct vgpu_driver driver = {0};
    struct vgpu_primitive primitive;

    int error = set_up(&worker, &driver);
    if (error) {
        vgpu_log("set-up failed: %s", strerror(-error));
        return VGPU_WORKER_EXIT_SETUP;
    }
    if (vgpu_driver_open(&driver, worker.page->driver) < 0) {
        end_with(&worker, CUDA_ERROR_SHARED_OBJECT_INIT_FAILED);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    CUresult result = vgpu_driver_start(&driver);
    if (result != CUDA_SUCCESS && worker.extent) {
        end_with(&worker, result);
        return VGPU_WORKER_EXIT_DRIVER;
    }
    /* A primitive worker stays: it answers a probe with the error. */
    vgpu_primitive_init(&primitive, &driver, result);
    /* pairs with the mediator's acquire load */
    __atomic_store_n(&worker.page->ready, 1, __ATOMIC_RELEASE);
    enum vgpu_worker_exit status = vgpu_loop_run(&worker, &primitive);
    if (status == VGPU_WORKER_EXIT_PROTOCOL)
        end_with(&worker, CUDA_ERROR_UNKNOWN);
    /* Not exit(): the driver's own handlers may wait for kernels that never end, and the kernel
     * takes everything back anyway. */
    _exit(status);
}
