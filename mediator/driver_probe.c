/* SPDX-License-Identifier: MIT */
#include "mediator/driver_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mediator/shared.h"
#include "mediator/spawn.h"

#define PROBE_MILLISECONDS  60000
#define ENDING_MILLISECONDS 5000 /* from a closed socket to the worker's exit */

const char *vgpu_driver_name(const struct vgpu_driver *driver)
{
    return driver->probe.is_software ? "vgpu software GPU" : "NVIDIA";
}

/** The last line that the worker wrote to its stderr: the best that is known of why it gave up. */
static void vgpu_probe_last_line(int output, char *text, size_t size)
{
    char bytes[2048];
    off_t end = lseek(output, 0, SEEK_END);
    off_t start = end > (off_t)sizeof(bytes) ? end - (off_t)sizeof(bytes) : 0;
    ssize_t length = pread(output, bytes, sizeof(bytes), start);

    while (length > 0 && (bytes[length - 1] == '\n' || bytes[length - 1] == '\0'))
        length--;
    if (length <= 0)
        return;
    const char *line = memrchr(bytes, '\n', (size_t)length);
    line = line ? line + 1 : bytes;
    vgpu_log_clean(text, size, line, (size_t)(bytes + length - line));
}

/** Waits for the answer, or for the worker's end. Returns 0, -ETIMEDOUT, -EPIPE or -EBADMSG. */
static int vgpu_probe_answer(struct vgpu_worker *worker, struct vgpu_worker_probe *probe)
{
    struct vgpu_worker_message message;
    struct pollfd waiting = {.fd = worker->socket.fd, .events = POLLIN};
    uint64_t deadline = vgpu_loop_now() + PROBE_MILLISECONDS * 1000000ull;
    int result = vgpu_worker_send(worker, VGPU_WORKER_PROBE, NULL, 0);

    if (result)
        return -EPIPE;
    do {
        uint64_t now = vgpu_loop_now();

        if (now >= deadline)
            return -ETIMEDOUT;
        poll(&waiting, 1, (int)((deadline - now) / 1000000 + 1));
        result = vgpu_worker_receive(worker, &message);
    } while (result == -EAGAIN);
    if (result)
        return result;
    if (message.op != VGPU_WORKER_PROBE || message.length != sizeof(*probe))
        return -EBADMSG;
    memcpy(probe, message.data, sizeof(*probe));
    vgpu_log_clean(probe->gpu, sizeof(probe->gpu),
                   (char *)message.data + offsetof(struct vgpu_worker_probe, gpu),
                   sizeof(probe->gpu));
    return 0;
}

static const char *vgpu_probe_meaning(uint32_t result)
{
    switch (result) {
    case 34:
        return "it is the stub library of the CUDA toolkit, not a driver";
    case 100:
        return "no GPU was found";
    case 802:
        return "the system is not ready (is the fabric manager running?)";
    case 803:
        return "the library and the kernel module are of different versions";
    case 804:
        return "forward compatibility is not supported on this GPU";
    default:
        return "cuInit or what followed failed";
    }
}

static void vgpu_probe_explain(struct vgpu_worker *worker, int answer,
                               const struct vgpu_worker_probe *probe, char *why, size_t size)
{
    if (answer == -ETIMEDOUT || answer == -EBADMSG)
        vgpu_worker_kill(worker);
    if (answer == 0) {
        if (probe->result)
            snprintf(why, size, "CUDA error %u: %s", probe->result,
                     vgpu_probe_meaning(probe->result));
        else if (probe->device_count == 0)
            snprintf(why, size, "it has no GPU");
        if (*why)
            vgpu_worker_kill(worker);
    } else if (answer == -ETIMEDOUT) {
        snprintf(why, size, "no answer within %d s", PROBE_MILLISECONDS / 1000);
    } else if (answer == -EPIPE) {
        struct pollfd ending = {.fd = worker->exit.fd, .events = POLLIN};

        if (poll(&ending, 1, ENDING_MILLISECONDS) <= 0)
            vgpu_worker_kill(worker);
    }
}

static void vgpu_driver_explain_end(const struct vgpu_config *config,
                                    const struct vgpu_worker *worker,
                                    const struct vgpu_worker_end *end, char *why, size_t size)
{
    char what[160];

    vgpu_worker_describe_end(worker, end, what, sizeof(what));
    snprintf(why, size, "the worker %.150s %s", config->worker, what);
}

/** Returns 0 if the driver works, and a worker that has it open; else `why` says why not. */
static int vgpu_driver_try(const struct vgpu_config *config, const char *library,
                           struct vgpu_driver *driver, struct vgpu_worker *worker, char *why,
                           size_t size)
{
    int output = memfd_create("vgpu-probe-output", MFD_CLOEXEC);
    const struct vgpu_worker_start start = {
        .path = config->worker,
        .driver = library,
        .error_output = output,
    };

    vgpu_worker_init(worker);
    memset(driver, 0, sizeof(*driver));
    snprintf(driver->library, sizeof(driver->library), "%s", library);
    *why = '\0';
    int error = vgpu_worker_run(worker, NULL, &start);
    if (error) {
        snprintf(why, size, "cannot start %.150s: %s", config->worker, strerror(-error));
        goto out;
    }
    int answer = vgpu_probe_answer(worker, &driver->probe);
    vgpu_probe_explain(worker, answer, &driver->probe, why, size);
    if (answer == 0 && !*why)
        goto out;
    struct vgpu_worker_end end = vgpu_worker_wait(worker);
    if (answer != 0 && answer != -ETIMEDOUT) {
        vgpu_probe_last_line(output, why, size);
        if (!*why)
            vgpu_driver_explain_end(config, worker, &end, why, size);
    }
    vgpu_worker_release(worker);
    error = -ENODEV;
out:
    if (output >= 0)
        close(output);
    return error;
}

int vgpu_driver_choose(const struct vgpu_config *config, struct vgpu_driver *driver,
                       struct vgpu_worker *worker)
{
    char why[384];

    if (config->driver != VGPU_DRIVER_SOFT) {
        if (vgpu_driver_try(config, config->cuda_library, driver, worker, why, sizeof(why)) == 0) {
            vgpu_log(VGPU_LOG_INFO, "driver: %s, because %s", config->cuda_library,
                     config->driver == VGPU_DRIVER_CUDA ? "driver=cuda" : "it works");
            return 0;
        }
        if (config->driver == VGPU_DRIVER_CUDA) {
            vgpu_log(VGPU_LOG_ERROR, "driver=cuda, but %s does not work: %s", config->cuda_library,
                     why);
            return -ENODEV;
        }
        vgpu_log(VGPU_LOG_INFO, "driver: the software GPU, because %s does not work: %s",
                 config->cuda_library, why);
    } else {
        vgpu_log(VGPU_LOG_INFO, "driver: the software GPU, because driver=soft");
    }
    if (vgpu_driver_try(config, config->soft_library, driver, worker, why, sizeof(why)) == 0)
        return 0;
    vgpu_log(VGPU_LOG_ERROR, "the software GPU %s does not work: %s", config->soft_library, why);
    return -ENODEV;
}
