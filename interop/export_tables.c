/* SPDX-License-Identifier: MIT */
/*
 * An interoperability table: what NVIDIA's CUDA 12 and 13 user libraries ask of any libcuda beside
 * the documented Driver API. Identifiers, slots and their duties were found by watching those
 * libraries from outside, or are published by interoperability projects (ZLUDA, Lupine); the names
 * are ours.
 *
 * A table is an array of words: its size in bytes, then functions (context-local storage has no
 * size word). Slots that no library was seen to call are NULL. Tables that are not here must be
 * refused: some libraries fall back well without a table and fail with one that does nothing.
 */
#include "interop/export_tables.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interop/compile_cache.h"
#include "interop/hmac_md2.h"
#include "interop/log.h"

/* Sizes in words are those of a CUDA 13.0 driver. */
enum {
    RUNTIME_WORDS = 13,
    CALLBACK_WORDS = 7,
    THREAD_WORDS = 3,
    STORAGE_WORDS = 4,
    CHECKS_WORDS = 15,
    INTEGRITY_WORDS = 3,
    IDS_WORDS = 93,
    MODULE_WORDS = 99,
    UNNAMED_WORDS = 17,
    COMPILE_WORDS = 7,
};

#define SIZE_WORD(words) ((void *)((words) * sizeof(void *)))

/* ---- the runtime's interface: primary contexts and, for old runtimes, module loading ---- */

static CUresult runtime_primary_context(CUcontext *context, CUdevice device)
{
    return context ? vgpu_interop_primary_context(device, context) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult runtime_load(CUmodule *module, const void *wrapper)
{
    return cuModuleLoadData(module, wrapper);
}

static CUresult runtime_load_with_options(CUmodule *module, const void *wrapper, void *options,
                                          void *values, unsigned int count)
{
    (void)options, (void)values, (void)count;
    return cuModuleLoadData(module, wrapper);
}

static CUresult runtime_load_container(const void *container, CUmodule *module)
{
    return cuModuleLoadData(module, container);
}

static void runtime_ignore(size_t value)
{
    (void)value;
}

static CUresult runtime_load_compilers(void)
{
    return CUDA_SUCCESS;
}

static void *const runtime_table[RUNTIME_WORDS] = {
    [0] = SIZE_WORD(RUNTIME_WORDS),        [1] = (void *)runtime_load,
    [2] = (void *)runtime_primary_context, [6] = (void *)runtime_load_with_options,
    [7] = (void *)runtime_ignore,          [8] = (void *)runtime_load_container,
    [12] = (void *)runtime_load_compilers,
};

/* ---- profiling subscriptions: which runtime calls a tool wants to hear of (none) ---- */

enum { SUBSCRIPTION_WORDS = 4096, PROFILING_WORDS = 256, PROFILING_REPORTED = 14 };

static void subscriptions(uint32_t **words, size_t *count)
{
    /* One per callback id; a runtime reads past the end of what is shorter than its highest id. */
    static uint32_t table[SUBSCRIPTION_WORDS];

    *words = table;
    *count = SUBSCRIPTION_WORDS;
}

static void profiling_state(void **words, size_t *count)
{
    static void *table[PROFILING_WORDS];

    *words = table;
    *count = PROFILING_REPORTED;
}

static void *const callback_table[CALLBACK_WORDS] = {
    [0] = SIZE_WORD(CALLBACK_WORDS),
    [2] = (void *)subscriptions,
    [6] = (void *)profiling_state,
};

/* ---- the thread's current context ---- */

static CUresult thread_context(CUcontext *context)
{
    if (!context)
        return CUDA_ERROR_INVALID_VALUE;
    *context = NULL;
    if (cuCtxGetCurrent(context) != CUDA_SUCCESS || !*context)
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_SUCCESS;
}

static void *const thread_table[THREAD_WORDS] = {
    [0] = SIZE_WORD(THREAD_WORDS),
    [2] = (void *)thread_context,
};

/* ---- context-local storage ---- */

static struct vgpu_local_storage *storage_of(CUcontext context)
{
    /* NULL and -1 both mean the current context. */
    if (!context || context == (CUcontext)-1) {
        context = NULL;
        if (cuCtxGetCurrent(&context) != CUDA_SUCCESS || !context)
            return NULL;
    }
    return vgpu_interop_local_storage(context);
}

static CUresult storage_put(CUcontext context, void *key, void *value,
                            vgpu_local_destructor destructor)
{
    struct vgpu_local_storage *storage = storage_of(context);

    if (!storage)
        return CUDA_ERROR_INVALID_CONTEXT;
    return vgpu_local_storage_put(storage, key, value, destructor) ? CUDA_SUCCESS
                                                                   : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult storage_delete(CUcontext context, void *key)
{
    struct vgpu_local_storage *storage = storage_of(context);

    if (!storage)
        return CUDA_ERROR_INVALID_CONTEXT;
    return vgpu_local_storage_delete(storage, key) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult storage_get(void **value, CUcontext context, void *key)
{
    struct vgpu_local_storage *storage = storage_of(context);

    if (!storage)
        return CUDA_ERROR_INVALID_CONTEXT;
    return vgpu_local_storage_get(storage, key, value) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static void *const storage_table[STORAGE_WORDS] = {
    (void *)storage_put,
    (void *)storage_delete,
    (void *)storage_get,
};

/* ---- context checks ---- */

static CUresult check_context(CUcontext context, uint32_t *finding)
{
    (void)context;
    *finding = 0;
    return CUDA_SUCCESS;
}

static uint32_t check_process(void)
{
    return 0;
}

static void *const checks_table[CHECKS_WORDS] = {
    [0] = SIZE_WORD(CHECKS_WORDS),
    [2] = (void *)check_context,
    [3] = (void *)check_process,
};

/* ---- integrity: the runtime works only with a driver that knows this digest ---- */

static CUresult integrity_check(uint32_t version, uint64_t seconds, uint64_t digest[2]);

static CUresult integrity_enable(int enable)
{
    (void)enable;
    return CUDA_SUCCESS;
}

static void *const integrity_table[INTEGRITY_WORDS] = {
    [0] = SIZE_WORD(INTEGRITY_WORDS),
    [1] = (void *)integrity_check,
    [2] = (void *)integrity_enable,
};

struct integrity_process {
    uint32_t driver_version;
    uint32_t asked_version;
    uint32_t process;
    uint32_t thread; /* low half of pthread_self() */
    uint64_t runtime_table;
    uint64_t integrity_table;
    uint64_t check_function;
    uint64_t seconds;
};

struct integrity_device {
    CUuuid uuid;
    int32_t domain;
    int32_t bus;
    int32_t device;
};

enum { MOST_DEVICES = 64 };

struct integrity_message {
    struct integrity_process process;
    struct integrity_device devices[MOST_DEVICES];
};

_Static_assert(sizeof(struct integrity_process) == 48, "packed as the runtime packs it");
_Static_assert(sizeof(struct integrity_device) == 28, "packed as the runtime packs it");
_Static_assert(offsetof(struct integrity_message, devices) == 48, "no padding between");

static CUresult describe_device(CUdevice device, struct integrity_device *out)
{
    CUresult result = cuDeviceGetUuid_v2(&out->uuid, device);

    if (result == CUDA_SUCCESS)
        result = cuDeviceGetAttribute(&out->domain, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, device);
    if (result == CUDA_SUCCESS)
        result = cuDeviceGetAttribute(&out->bus, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, device);
    if (result == CUDA_SUCCESS)
        result = cuDeviceGetAttribute(&out->device, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, device);
    return result;
}

static CUresult integrity_check(uint32_t version, uint64_t seconds, uint64_t digest[2])
{
    static const uint8_t key[] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
                                  0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};
    struct integrity_message message = {0};
    int driver = 0, count = 0;
    CUresult result;

    if (version % 10 < 2) {
        digest[0] = version % 10 ? 0x1841181c03cb675c : 0x3341181c03cb675c;
        digest[1] = 0x8ed383aa1f4cd1e8;
        return CUDA_SUCCESS;
    }
    result = cuDriverGetVersion(&driver);
    if (result == CUDA_SUCCESS)
        result = cuDeviceGetCount(&count);
    if (result == CUDA_SUCCESS && (count < 0 || count > MOST_DEVICES))
        result = CUDA_ERROR_NOT_SUPPORTED;
    for (int i = 0; result == CUDA_SUCCESS && i < count; i++)
        result = describe_device(i, &message.devices[i]);
    if (result != CUDA_SUCCESS)
        return result;
    message.process = (struct integrity_process){
        .driver_version = (uint32_t)driver,
        .asked_version = version,
        .process = (uint32_t)getpid(),
        .thread = (uint32_t)(uintptr_t)pthread_self(),
        .runtime_table = (uintptr_t)runtime_table,
        .integrity_table = (uintptr_t)integrity_table,
        .check_function = (uintptr_t)integrity_check,
        .seconds = seconds,
    };
    vgpu_hmac_md2(key, sizeof(key), &message,
                  offsetof(struct integrity_message, devices) +
                      (size_t)count * sizeof(struct integrity_device),
                  (uint8_t *)digest);
    return CUDA_SUCCESS;
}

/* ---- identity of contexts and streams ---- */

/* Internal handles of the default streams, which have no address of their own. */
static char legacy_mark, per_thread_mark;

static CUresult id_context_device(CUcontext context, int *device)
{
    return cuCtxGetDevice_v2(device, context);
}

static CUresult id_context(CUcontext context, uint64_t *id)
{
    unsigned long long value;
    CUresult result = cuCtxGetId(context, &value);

    if (result == CUDA_SUCCESS)
        *id = value;
    return result;
}

static CUresult id_stream_handle(CUcontext context, CUstream stream, void **handle, int per_thread)
{
    (void)context;
    if (stream == (CUstream)-1)
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream == CU_STREAM_PER_THREAD || (!stream && per_thread))
        *handle = &per_thread_mark;
    else if (!stream || stream == CU_STREAM_LEGACY)
        *handle = &legacy_mark;
    else
        *handle = stream;
    return CUDA_SUCCESS;
}

static CUresult id_stream(CUcontext context, void *handle, uint64_t *id)
{
    CUstream stream = handle;
    unsigned long long value;
    CUresult result;

    (void)context;
    if (handle == &legacy_mark)
        stream = CU_STREAM_LEGACY;
    else if (handle == &per_thread_mark)
        stream = CU_STREAM_PER_THREAD;
    result = cuStreamGetId(stream, &value);
    if (result == CUDA_SUCCESS)
        *id = value;
    return result;
}

static void *const ids_table[IDS_WORDS] = {
    [0] = SIZE_WORD(IDS_WORDS), [3] = (void *)id_context_device, [4] = (void *)id_context,
    [39] = (void *)id_stream,   [51] = (void *)id_stream_handle,
};

/* ---- functions of a module ---- */

enum { MOST_FUNCTIONS = 4096 };

/* Calls `visit` for each kernel and returns how many there were; negative on an error. */
static int module_functions(CUcontext context, CUmodule module,
                            void (*visit)(void *data, CUfunction function, void *owner), void *data)
{
    CUfunction *functions;
    unsigned int count = 0;
    int visited = -1;

    (void)context;
    if (!visit || cuModuleGetFunctionCount(&count, module) != CUDA_SUCCESS ||
        count > MOST_FUNCTIONS)
        return -1;
    functions = calloc(count ? count : 1, sizeof(*functions));
    if (functions && cuModuleEnumerateFunctions(functions, count, module) == CUDA_SUCCESS) {
        for (unsigned int i = 0; i < count; i++)
            visit(data, functions[i], module);
        visited = (int)count;
    }
    free(functions);
    return visited;
}

static void *const module_table[MODULE_WORDS] = {
    [0] = SIZE_WORD(MODULE_WORDS),
    [7] = (void *)module_functions,
};

/* ---- asked by cuBLASLt when it chooses kernels; its meaning is not known, refusing is understood
 * ---- */

static CUresult unnamed_query(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

static void *const unnamed_table[UNNAMED_WORDS] = {
    [0] = SIZE_WORD(UNNAMED_WORDS),
    [4] = (void *)unnamed_query,
};

/*
 * ---- what NVRTC and nvJitLink have compiled before ----
 *
 * Seen with NVRTC and nvJitLink 13.0 on driver 580: a key is made of what goes into a compilation
 * (kind 1 for machine code, 2 for PTX; intermediate code or PTX as the source; the command line; a
 * platform's name; the compiler's date; 90 for sm_90), looked up (500: it is not there), and
 * destroyed in the end. What is found is released by its own function; after a miss the result is
 * stored. nvJitLink keeps what it makes of each PTX input, not what it links.
 */

static CUresult compile_key(struct vgpu_compile_key **key, uint32_t kind, const void *source,
                            size_t bytes, const char *options, const char *platform,
                            const char *compiler, uint32_t architecture)
{
    if (!key || (!source && bytes))
        return CUDA_ERROR_INVALID_VALUE;
    *key = vgpu_compile_key_create(&(struct vgpu_compile_inputs){.kind = kind,
                                                                 .architecture = architecture,
                                                                 .source = source,
                                                                 .source_bytes = bytes,
                                                                 .options = options,
                                                                 .platform = platform,
                                                                 .compiler = compiler});
    return *key ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult compile_key_end(struct vgpu_compile_key *key)
{
    vgpu_compile_key_destroy(key);
    return CUDA_SUCCESS;
}

/* The size is 32 bits wide: behind it on the caller's stack lies the pointer. */
static CUresult compile_find(const struct vgpu_compile_key *key, uint64_t zero, void **data,
                             uint32_t *bytes)
{
    size_t size;

    (void)zero;
    if (!key || !data || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_compile_cache_find(key, data, &size))
        return CUDA_ERROR_NOT_FOUND;
    *bytes = (uint32_t)size;
    return CUDA_SUCCESS;
}

static CUresult compile_keep(const struct vgpu_compile_key *key, uint64_t zero, const void *data,
                             uint32_t bytes)
{
    (void)zero;
    if (!key || !data)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_compile_cache_keep(key, data, bytes);
    return CUDA_SUCCESS;
}

/* Never seen called. */
static CUresult compile_unknown(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

static CUresult compile_release(void *data)
{
    free(data);
    return CUDA_SUCCESS;
}

static void *const compile_table[COMPILE_WORDS] = {
    [0] = SIZE_WORD(COMPILE_WORDS), [1] = (void *)compile_key,  [2] = (void *)compile_key_end,
    [3] = (void *)compile_find,     [4] = (void *)compile_keep, [5] = (void *)compile_unknown,
    [6] = (void *)compile_release,
};

/* ---- the door ---- */

static const struct {
    uint8_t id[16];
    const void *table;
} tables[] = {
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d,
      0xf9},
     runtime_table},
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a,
      0x66},
     callback_table},
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec,
      0xdc},
     thread_table},
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95,
      0x93},
     storage_table},
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa,
      0x7e},
     checks_table},
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1,
      0xf2},
     integrity_table},
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8,
      0xf2},
     ids_table},
    {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1, 0x82, 0xaf, 0xf1, 0x99,
      0x1e},
     module_table},
    {{0x17, 0x34, 0xdc, 0x26, 0x80, 0x0d, 0x47, 0x45, 0x87, 0x26, 0xc0, 0xf1, 0xe7, 0xdd, 0x8b,
      0xca},
     unnamed_table},
    {{0xda, 0x91, 0x51, 0xd3, 0x3a, 0xe6, 0xcc, 0x41, 0xa5, 0xc0, 0x4f, 0x26, 0xd5, 0x33, 0xe3,
      0x28},
     compile_table},
};

/* One line per identifier, so that a user's report names what a new runtime wants. */
static void log_refusal(const CUuuid *id)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static CUuuid told[32];
    static size_t count;
    const unsigned char *b = (const unsigned char *)id->bytes;
    bool known = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && !known; i++)
        known = memcmp(&told[i], id, sizeof(*id)) == 0;
    if (!known && count < sizeof(told) / sizeof(told[0]))
        told[count++] = *id;
    pthread_mutex_unlock(&lock);
    if (!known)
        vgpu_log(
            VGPU_LOG_INFO,
            "export table %02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x "
            "is not served",
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15]);
}

CUresult cuGetExportTable(const void **table, const CUuuid *id)
{
    if (!table || !id)
        return CUDA_ERROR_INVALID_VALUE;
    *table = NULL;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (memcmp(tables[i].id, id, sizeof(*id)) == 0) {
            *table = tables[i].table;
            return CUDA_SUCCESS;
        }
    }
    log_refusal(id);
    return CUDA_ERROR_INVALID_VALUE;
}
