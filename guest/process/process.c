/* SPDX-License-Identifier: MIT */
/* How CUDA begins and ends in a process: cuInit, the driver's version, fork and exit. */
#include "guest/process/process.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "guest/channel/trace.h"
#include "guest/channel/transport.h"
#include "guest/memory/host_memory.h"
#include "guest/process/context.h"
#include "interop/thread.h"
#include "protocol/send.h"

/** The newest cuda.h whose functions this library has. */
#define NEWEST_VERSION 13000

struct vgpu_process vgpu_the_process = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .image_lock = PTHREAD_MUTEX_INITIALIZER,
    .download_lock = PTHREAD_MUTEX_INITIALIZER,
    .code_lock = PTHREAD_MUTEX_INITIALIZER,
    .context_lock = PTHREAD_MUTEX_INITIALIZER,
    .physical_lock = PTHREAD_MUTEX_INITIALIZER,
    .pools.lock = PTHREAD_MUTEX_INITIALIZER,
    .freed.lock = PTHREAD_MUTEX_INITIALIZER,
    .reservations.lock = PTHREAD_RWLOCK_INITIALIZER,
    .captures.lock = PTHREAD_MUTEX_INITIALIZER,
    .shadow_runs.lock = PTHREAD_MUTEX_INITIALIZER,
    .textures.lock = PTHREAD_RWLOCK_INITIALIZER,
    .surfaces.lock = PTHREAD_RWLOCK_INITIALIZER,
    .array_lock = PTHREAD_MUTEX_INITIALIZER,
    .team = VGPU_TEAM_INITIALIZER,
    .upcalls.lock = PTHREAD_MUTEX_INITIALIZER,
    .upcalls.changed = PTHREAD_COND_INITIALIZER,
    .upcalls.freed = PTHREAD_COND_INITIALIZER,
    .ranges = {.lock = PTHREAD_RWLOCK_INITIALIZER, .release = vgpu_host_release},
    .arenas.lock = PTHREAD_MUTEX_INITIALIZER,
    .registered.lock = PTHREAD_MUTEX_INITIALIZER,
    .tensor_maps.lock = PTHREAD_MUTEX_INITIALIZER,
    .mirrors.lock = PTHREAD_MUTEX_INITIALIZER,
};

static enum vgpu_phase phase_of(const struct vgpu_process *process)
{
    /* acquire: pairs with enter_phase, after all that the phase promises was set up */
    return (enum vgpu_phase)__atomic_load_n(&process->phase, __ATOMIC_ACQUIRE);
}

static void enter_phase(struct vgpu_process *process, enum vgpu_phase phase)
{
    __atomic_store_n(&process->phase, phase, __ATOMIC_RELEASE);
}

CUresult vgpu_process_unready(const struct vgpu_process *process)
{
    switch (phase_of(process)) {
    case VGPU_PHASE_READY: /* since just now */
        return CUDA_SUCCESS;
    case VGPU_PHASE_OVER:
        return CUDA_ERROR_DEINITIALIZED;
    default:
        return CUDA_ERROR_NOT_INITIALIZED;
    }
}

/* ---- errors that come later than the calls that they are of ---- */

static bool is_sticky(CUresult error)
{
    switch (error) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_EXTERNAL_DEVICE:
        return true;
    default:
        return false;
    }
}

static void keep_first(uint32_t *word, CUresult error)
{
    uint32_t none = CUDA_SUCCESS;
    /* relaxed: the error is all that is told */
    __atomic_compare_exchange_n(word, &none, (uint32_t)error, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

CUresult vgpu_process_note(struct vgpu_process *process, CUresult error)
{
    if (error && is_sticky(error))
        keep_first(&process->sticky, error);
    return error;
}

CUresult vgpu_process_collect(struct vgpu_process *process)
{
    CUresult error = vgpu_channel_take_error(process->channel);
    if (error) {
        CUresult lost = vgpu_channel_alive(process->channel);
        if (lost)
            return lost;
        vgpu_process_note(process, error);
        if (!is_sticky(error))
            keep_first(&process->deferred, error);
    }
    return (CUresult)__atomic_load_n(&process->sticky, __ATOMIC_RELAXED);
}

CUresult vgpu_process_take_deferred(struct vgpu_process *process)
{
    if (__atomic_load_n(&process->deferred, __ATOMIC_RELAXED) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    return (CUresult)__atomic_exchange_n(&process->deferred, CUDA_SUCCESS, __ATOMIC_RELAXED);
}

unsigned long long vgpu_process_new_id(struct vgpu_process *process)
{
    return __atomic_add_fetch(&process->last_id, 1, __ATOMIC_RELAXED);
}

/* ---- the beginning ---- */

/* The parent's channel is not ours: a process that was initialised leaves a child without CUDA, one
 * that only asked for the version leaves a child that can begin anew. */
static void after_fork(void)
{
    struct vgpu_process *process = &vgpu_the_process;
    enum vgpu_phase phase = phase_of(process);
    if (phase == VGPU_PHASE_READY)
        vgpu_registered_forked(&process->registered, process->channel);
    if (phase == VGPU_PHASE_READY || phase == VGPU_PHASE_FORKED) {
        enter_phase(process, VGPU_PHASE_FORKED);
        return;
    }
    pthread_mutex_init(&process->lock, NULL);
    process->channel = NULL;
    process->tried = false;
    enter_phase(process, VGPU_PHASE_NEW);
}

/* In a virtual machine the device is where lspci shows it, not where the host's GPU is. */
static void take_place(struct vgpu_process *process)
{
    int32_t *attribute = process->info.attribute;
    struct vgpu_pci_place place;
    if (!vgpu_channel_place(process->channel, &place))
        return;
    attribute[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = (int32_t)place.domain;
    attribute[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = (int32_t)place.bus;
    attribute[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] = (int32_t)place.device;
}

static CUresult get_info(struct vgpu_process *process)
{
    size_t bytes = 0;
    CUresult error = vgpu_send_vgpuDeviceInfo(process->channel, 0, 0, &process->info,
                                              sizeof(process->info), &bytes);
    if (error == CUDA_SUCCESS && bytes != sizeof(process->info))
        error = CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    if (error == CUDA_SUCCESS)
        take_place(process);
    return error;
}

/* Opens the channel, once, whatever the outcome. Called with the lock. */
static CUresult open_channel(struct vgpu_process *process)
{
    if (process->tried)
        return process->open_error;
    process->tried = true;
    process->owner = getpid();
    pthread_atfork(NULL, NULL, after_fork);
    process->open_error = vgpu_channel_open(&process->channel);
    if (process->open_error == CUDA_SUCCESS) {
        vgpu_channel_before_calls(process->channel, vgpu_freed_tell);
        vgpu_channel_when_busy(process->channel, vgpu_context_await);
        process->open_error = get_info(process);
        if (process->open_error)
            vgpu_channel_close(process->channel);
        else
            enter_phase(process, VGPU_PHASE_OPEN);
    }
    return process->open_error;
}

/* CUDA_VISIBLE_DEVICES names devices by number or by the beginning of their UUID; what follows the
 * first wrong name counts as hidden. There is one device, so the first name decides. */
static bool is_hidden(const struct vgpu_process *process)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    char uuid[48] = "GPU-";
    size_t at = 4, length;
    if (list == NULL)
        return false;
    for (int i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        if (i == 4 || i == 6 || i == 8 || i == 10)
            uuid[at++] = '-';
        uuid[at++] = digits[process->info.uuid[i] >> 4];
        uuid[at++] = digits[process->info.uuid[i] & 15];
    }
    list += strspn(list, " ");
    length = strcspn(list, ", ");
    if (length == 1)
        return list[0] != '0';
    return length < 5 || length > at || strncasecmp(list, uuid, length) != 0;
}

static void read_environment(struct vgpu_process *process)
{
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    const char *loading = getenv("CUDA_MODULE_LOADING");
    process->trace = vgpu_trace_wanted();
    process->launch_blocking = blocking && atoi(blocking) != 0;
    process->loading = loading && strcasecmp(loading, "EAGER") == 0 ? CU_MODULE_EAGER_LOADING
                                                                    : CU_MODULE_LAZY_LOADING;
}

static CUresult initialise(struct vgpu_process *process)
{
    CUresult error = open_channel(process);
    if (error)
        return error;
    if (process->info.device_count == 0 || is_hidden(process))
        return CUDA_ERROR_NO_DEVICE;
    vgpu_objects_init(&process->objects);
    error = vgpu_context_create_primary(process);
    if (error)
        return error;
    read_environment(process);
    enter_phase(process, VGPU_PHASE_READY);
    return CUDA_SUCCESS;
}

CUresult cuInit(unsigned int flags)
{
    struct vgpu_process *process = &vgpu_the_process;
    CUresult error = vgpu_process_ready(process);
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (phase_of(process) >= VGPU_PHASE_READY)
        return error;
    int cancelling = vgpu_thread_keep();
    pthread_mutex_lock(&process->lock);
    error = vgpu_process_ready(process);
    if (error)
        error = initialise(process);
    pthread_mutex_unlock(&process->lock);
    vgpu_thread_let_cancel(cancelling);
    return error;
}

/* Asked before cuInit, and by the runtime hundreds of times. Where there is no GPU it is our own.
 */
CUresult cuDriverGetVersion(int *version)
{
    struct vgpu_process *process = &vgpu_the_process;
    if (version == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (phase_of(process) == VGPU_PHASE_NEW) {
        int cancelling = vgpu_thread_keep();
        pthread_mutex_lock(&process->lock);
        open_channel(process);
        pthread_mutex_unlock(&process->lock);
        vgpu_thread_let_cancel(cancelling);
    }
    *version = NEWEST_VERSION;
    if (process->info.driver_version && process->info.driver_version < NEWEST_VERSION)
        *version = (int)process->info.driver_version;
    return CUDA_SUCCESS;
}

/* ---- the end ---- */

static bool is_only_thread(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    if (tasks == NULL)
        return false;
    for (const struct dirent *task = readdir(tasks); task; task = readdir(tasks))
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count == 1;
}

/* Runs after the program's own exit handlers. Other threads may still be in a call: then the
 * channel stays open, and the host closes it when the process is gone. */
__attribute__((destructor)) static void end_process(void)
{
    struct vgpu_process *process = &vgpu_the_process;
    enum vgpu_phase phase = phase_of(process);
    if (phase != VGPU_PHASE_OPEN && phase != VGPU_PHASE_READY)
        return;
    if (process->owner != getpid())
        return; /* a child that was made without fork(): all this is its parent's */
    vgpu_channel_flush_console(process->channel);
    enter_phase(process, VGPU_PHASE_OVER);
    if (process->trace)
        vgpu_trace_print(process->channel, process->entered);
    vgpu_upcall_stop();
    vgpu_team_end(&process->team);
    if (is_only_thread())
        vgpu_channel_close(process->channel);
}
