/* SPDX-License-Identifier: MIT */
/* Starting up: what the environment says, the devices, cuInit. */
#include "soft/driver/driver.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interop/log.h"
#include "soft/driver/context.h"
#include "soft/driver/memory/memory_pool.h"
#include "soft/simt/ops.h"

static struct vgpu_driver the_driver = {
    .status = CUDA_ERROR_NOT_INITIALIZED,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .graphs = PTHREAD_MUTEX_INITIALIZER,
    .stream_gone = PTHREAD_COND_INITIALIZER,
};

enum { DEFAULT_CAPABILITY = 130 };

/* Bytes: all devices together have room in the addresses of a process. */
#define SMALLEST_DEVICE ((size_t)1 << 20)
#define LARGEST_DEVICE  ((size_t)8 << 40)

struct vgpu_driver *vgpu_driver(void)
{
    return &the_driver;
}

CUresult vgpu_driver_ready(void)
{
    if (vgpu_thread_in_callback())
        return CUDA_ERROR_NOT_PERMITTED;
    /* Acquire pairs with the release in cuInit(): the devices are complete. */
    return __atomic_load_n(&the_driver.status, __ATOMIC_ACQUIRE);
}

uint64_t vgpu_driver_new_id(void)
{
    return atomic_fetch_add_explicit(&the_driver.next_id, 1, memory_order_relaxed) + 1;
}

struct vgpu_device *vgpu_device_get(CUdevice ordinal)
{
    if (ordinal < 0 || ordinal >= the_driver.device_count)
        return NULL;
    return &the_driver.devices[ordinal];
}

void vgpu_device_note_range(struct vgpu_device *device, uint64_t address, size_t size)
{
    uint64_t low = atomic_load(&device->lowest), high = atomic_load(&device->highest);

    while ((low == 0 || address < low) &&
           !atomic_compare_exchange_weak(&device->lowest, &low, address))
        ;
    while (address + size > high &&
           !atomic_compare_exchange_weak(&device->highest, &high, address + size))
        ;
}

/* "512M", "4G", "1T", "1073741824"; 0 if it is no such thing. */
static size_t parse_size(const char *text)
{
    char *end;
    unsigned long long value;
    unsigned int shift = 0;
    size_t size;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || text[0] == '-')
        return 0;
    if (*end == 'K' || *end == 'k')
        shift = 10;
    else if (*end == 'M' || *end == 'm')
        shift = 20;
    else if (*end == 'G' || *end == 'g')
        shift = 30;
    else if (*end == 'T' || *end == 't')
        shift = 40;
    if (shift)
        end++;
    if (*end || __builtin_mul_overflow(value, 1ull << shift, &size))
        return 0;
    return size;
}

/* Bytes of each device; 0 if the environment has no size. */
static size_t wanted_memory(void)
{
    const char *text = getenv("VGPU_SOFT_MEMORY");
    size_t size;

    if (!text)
        return (size_t)sysconf(_SC_PHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
    size = parse_size(text);
    if (size >= SMALLEST_DEVICE && size <= LARGEST_DEVICE)
        return size;
    vgpu_log(VGPU_LOG_ERROR,
             "VGPU_SOFT_MEMORY=%s is not a size from 1M to 8T: give bytes, or a number with K, M, "
             "G or T",
             text);
    return 0;
}

/* Negative if the environment has no number. */
static int wanted_devices(void)
{
    const char *text = getenv("VGPU_SOFT_DEVICES");
    char *end;
    long count;

    if (!text)
        return 1;
    count = strtol(text, &end, 10);
    if (end != text && !*end && count >= 0 && count <= VGPU_SOFT_MOST_DEVICES)
        return (int)count;
    vgpu_log(VGPU_LOG_ERROR, "VGPU_SOFT_DEVICES=%s is not a number of devices from 0 to %d", text,
             VGPU_SOFT_MOST_DEVICES);
    return -1;
}

/* "12.1"; negative if the environment has no such thing. */
static int wanted_capability(void)
{
    const char *text = getenv("VGPU_SOFT_CAPABILITY");

    if (!text)
        return DEFAULT_CAPABILITY;
    if (text[0] >= '1' && text[0] <= '9' && strspn(text, "0123456789") == strlen(text) - 2 &&
        strlen(text) <= 4 && text[strlen(text) - 2] == '.' && text[strlen(text) - 1] >= '0' &&
        text[strlen(text) - 1] <= '9')
        return 10 * atoi(text) + text[strlen(text) - 1] - '0';
    vgpu_log(VGPU_LOG_ERROR, "VGPU_SOFT_CAPABILITY=%s is not major.minor, as in 12.1", text);
    return -1;
}

/* Which build of the handlers to run at most, if the environment says. */
static bool limit_level(void)
{
    const char *text = getenv("VGPU_SOFT_LEVEL");

    if (!text || vgpu_ops_limit(text) == 0)
        return true;
    vgpu_log(VGPU_LOG_ERROR, "VGPU_SOFT_LEVEL=%s is not a processor level: baseline, v3 or v4",
             text);
    return false;
}

/* Sets which processors a list as "0,2-3" names; false if it is none, or names one that there is
 * not.
 */
static bool parse_processors(const char *text, cpu_set_t *set)
{
    long most = sysconf(_SC_NPROCESSORS_CONF);

    CPU_ZERO(set);
    for (char *end;; text = end + 1) {
        long first = strtol(text, &end, 10), last = first;
        if (end != text && *end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
        }
        if (end == text || first < 0 || last < first || last >= most || last >= CPU_SETSIZE)
            return false;
        for (long i = first; i <= last; i++)
            CPU_SET((size_t)i, set);
        if (*end != ',')
            return *end == '\0';
    }
}

/* Which processors compute, if the environment says. */
static bool limit_processors(void)
{
    const char *text = getenv("VGPU_SOFT_PROCESSORS");

    the_driver.processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (!text)
        return true;
    the_driver.has_processor_set = parse_processors(text, &the_driver.processor_set);
    the_driver.processors = CPU_COUNT(&the_driver.processor_set);
    if (!the_driver.has_processor_set)
        vgpu_log(VGPU_LOG_ERROR,
                 "VGPU_SOFT_PROCESSORS=%s is not a list of this machine's processors, as in 0,2-3",
                 text);
    return the_driver.has_processor_set;
}

/* Fills in which of `count` devices the program may see, in its order: the list of numbers in
 * CUDA_VISIBLE_DEVICES up to the first that is none. */
static int visible_devices(int count, int numbers[VGPU_SOFT_MOST_DEVICES])
{
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    int visible = 0;

    for (int i = 0; !text && i < count; i++)
        numbers[visible++] = i;
    while (text && *text && visible < count) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || number < 0 || number >= count)
            break;
        numbers[visible++] = (int)number;
        text = *end == ',' ? end + 1 : "";
    }
    return visible;
}

static CUresult open_device(struct vgpu_device *device, int ordinal, int number, size_t bytes)
{
    device->ordinal = ordinal;
    device->number = number;
    device->bytes = bytes;
    if (vgpu_memory_create(bytes, &device->memory) < 0 ||
        (the_driver.memcheck && vgpu_memory_be_exact(device->memory) < 0))
        return CUDA_ERROR_OUT_OF_MEMORY;
    device->primary = vgpu_context_create_primary(device);
    return device->primary ? vgpu_memory_pool_open_device(device) : CUDA_ERROR_OUT_OF_MEMORY;
}

/* The parent's threads are not here, and nothing can be done without them. */
static void after_fork(void)
{
    the_driver.forked = true;
    the_driver.status = CUDA_ERROR_NOT_INITIALIZED;
}

static CUresult start(void)
{
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    const char *memcheck = getenv("VGPU_SOFT_MEMCHECK");
    int numbers[VGPU_SOFT_MOST_DEVICES];
    int all = wanted_devices(), count = visible_devices(all, numbers);
    size_t bytes = wanted_memory();

    the_driver.capability = wanted_capability();
    /* Who asks for something else than there is should not get something third. */
    if (all < 0 || bytes == 0 || the_driver.capability < 0 || !limit_level() || !limit_processors())
        return CUDA_ERROR_INVALID_VALUE;
    if (count == 0)
        return CUDA_ERROR_NO_DEVICE;
    the_driver.memcheck = memcheck && atoi(memcheck) != 0;
    for (int i = 0; i < count; i++) {
        CUresult result = open_device(&the_driver.devices[i], i, numbers[i], bytes);
        if (result != CUDA_SUCCESS)
            return result;
    }
    the_driver.device_count = count;
    the_driver.launch_blocking = blocking && atoi(blocking) != 0;
    pthread_atfork(NULL, NULL, after_fork);
    return CUDA_SUCCESS;
}

CUresult cuInit(unsigned int Flags)
{
    static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
    CUresult result;

    if (Flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (the_driver.forked)
        return CUDA_ERROR_NOT_INITIALIZED;
    pthread_mutex_lock(&starting);
    result = the_driver.status;
    if (result == CUDA_ERROR_NOT_INITIALIZED) {
        result = start();
        /* A failure is for good: half of the devices may be there. */
        __atomic_store_n(&the_driver.status, result, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&starting);
    return result;
}

CUresult cuDriverGetVersion(int *driverVersion)
{
    if (!driverVersion)
        return CUDA_ERROR_INVALID_VALUE;
    *driverVersion = VGPU_SOFT_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuProfilerStart(void)
{
    struct vgpu_context *context;

    return vgpu_context_enter(&context);
}

CUresult cuProfilerStop(void)
{
    struct vgpu_context *context;

    return vgpu_context_enter(&context);
}
