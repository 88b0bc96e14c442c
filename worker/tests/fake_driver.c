/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/tests/fake_objects.h"

static CUresult f_init(unsigned int flags)
{
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
static CUresult f_version(int *version)
{
    *version = 13000;
    return CUDA_SUCCESS;
}
static CUresult f_count(int *count)
{
    *count = 1;
    return CUDA_SUCCESS;
}
static CUresult f_name(char *name, int room, CUdevice device)
{
    snprintf(name, (size_t)room, "fake GPU");
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
static CUresult f_uuid(CUuuid *uuid, CUdevice device)
{
    memset(uuid, 7, sizeof(*uuid));
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
static CUresult f_total(size_t *bytes, CUdevice device)
{
    *bytes = (size_t)1 << 40;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
static CUresult f_attribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    (void)device;
    *value = (int)attribute * 3;
    return attribute < 140 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
static CUresult f_retain(CUcontext *context, CUdevice device)
{
    if (device != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    if (machine.primary == NULL)
        machine.primary = fake_make(CONTEXT, NULL);
    machine.primary_references++;
    *context = (CUcontext)machine.primary;
    return CUDA_SUCCESS;
}
static CUresult f_release(CUdevice device)
{
    if (device != 0 || machine.primary_references == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (--machine.primary_references == 0 && machine.primary) {
        fake_forget_context(machine.primary);
        machine.primary = NULL;
    }
    return CUDA_SUCCESS;
}
static CUresult f_reset(CUdevice device)
{
    if (machine.primary)
        fake_forget_context(machine.primary);
    machine.primary = NULL;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
static CUresult f_primary_flags(CUdevice device, unsigned int flags)
{
    (void)flags;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
static CUresult f_create(CUcontext *context, unsigned int flags, CUdevice device)
{
    (void)flags;
    if (device != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    machine.current = fake_make(CONTEXT, NULL);
    *context = (CUcontext)machine.current;
    return CUDA_SUCCESS;
}
static CUresult f_destroy(CUcontext context)
{
    fake_forget_context(fake_need(context, CONTEXT));
    return CUDA_SUCCESS;
}
static CUresult f_set_current(CUcontext context)
{
    machine.current = context ? fake_need(context, CONTEXT) : NULL;
    return CUDA_SUCCESS;
}
static CUresult f_synchronise(void)
{
    CUresult error = fake_check();
    if (error == CUDA_SUCCESS)
        fake_synchronise();
    return error;
}
static CUresult f_get_limit(size_t *value, CUlimit limit)
{
    *value = 1024 + (size_t)limit;
    return fake_check();
}
static CUresult f_set_limit(CUlimit limit, size_t value)
{
    (void)limit, (void)value;
    return fake_check();
}
static CUresult f_priorities(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return fake_check();
}
static CUresult f_alloc(CUdeviceptr *address, size_t bytes)
{
    CUresult error = fake_fail_once();
    if (error)
        return error;
    if (bytes > FAKE_ALLOCATION_MOST)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct fake_object *memory = fake_make(MEMORY, machine.current);
    memory->memory = malloc(bytes);
    memset(memory->memory, 0xdd, bytes); /* what another VM has left */
    memory->address = (CUdeviceptr)(uintptr_t)memory->memory;
    memory->bytes = bytes;
    fake.memory += bytes;
    *address = memory->address;
    return CUDA_SUCCESS;
}
static CUresult f_alloc_pitch(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                              unsigned int element)
{
    (void)element;
    if (width > FAKE_ALLOCATION_MOST || height > FAKE_ALLOCATION_MOST)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *pitch = (width + FAKE_PITCH - 1) / FAKE_PITCH * FAKE_PITCH;
    return f_alloc(address, *pitch * height);
}
static CUresult f_free(CUdeviceptr address)
{
    for (struct fake_object *object = machine.objects; object; object = object->next) {
        if (object->kind == MEMORY && (CUdeviceptr)(uintptr_t)object->memory == address) {
            fake_synchronise();
            fake_forget(object);
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_VALUE;
}
static CUresult f_info(size_t *unused, size_t *total)
{
    *total = (size_t)1 << 40;
    *unused = *total - fake.memory;
    return fake_check();
}
static CUresult copy(void *to, const void *from, size_t bytes, CUstream stream)
{
    if (to == NULL || from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return fake_queue(
        stream, (struct fake_operation){.kind = COPY, .to = to, .from = from, .bytes = bytes});
}
static CUresult f_to_device(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    CUresult error = CUDA_SUCCESS;
    /* Pageable memory is taken when the call is made, as CUDA does with small copies. */
    bool pageable = fake_registration((uintptr_t)from) == NULL;
    uint8_t *memory = fake_memory(to, bytes);
    if (memory == NULL)
        error = CUDA_ERROR_INVALID_VALUE;
    else if (pageable)
        memcpy(memory, from, bytes);
    else
        error = copy(memory, from, bytes, stream);
    return error;
}
static CUresult f_from_device(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy(to, fake_memory(from, bytes), bytes, stream);
}
static CUresult f_within_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy(fake_memory(to, bytes), fake_memory(from, bytes), bytes, stream);
}
static CUresult f_copy_2d(const CUDA_MEMCPY2D *what, CUstream stream)
{
    CUresult error = fake_check();
    for (size_t row = 0; row < what->Height && error == CUDA_SUCCESS; row++) {
        uint8_t *to = what->dstMemoryType == CU_MEMORYTYPE_HOST
                          ? (uint8_t *)what->dstHost + row * what->dstPitch
                          : fake_memory(what->dstDevice + row * what->dstPitch, what->WidthInBytes);
        const uint8_t *from =
            what->srcMemoryType == CU_MEMORYTYPE_HOST
                ? (const uint8_t *)what->srcHost + row * what->srcPitch
                : fake_memory(what->srcDevice + row * what->srcPitch, what->WidthInBytes);
        error = copy(to, from, what->WidthInBytes, stream);
    }
    return error;
}
static uint8_t *in_array(CUarray handle, size_t x, size_t row, size_t plane, size_t width)
{
    const struct fake_object *array = fake_need(handle, ARRAY);
    size_t offset = (plane * array->reserved + row) * array->used + x;
    if (x > array->used || width > array->used - x || row >= array->reserved ||
        plane >= array->bytes / (array->reserved * array->used))
        return NULL;
    return array->memory + offset;
}
static uint8_t *side_3d(CUmemorytype type, void *host, CUdeviceptr device, size_t pitch,
                        size_t height, size_t row, size_t plane, size_t width)
{
    size_t offset = (plane * height + row) * pitch;
    return type == CU_MEMORYTYPE_HOST ? (uint8_t *)host + offset
                                      : fake_memory(device + offset, width);
}
static CUresult f_copy_3d(const CUDA_MEMCPY3D *what, CUstream stream)
{
    CUresult error = fake_check();
    for (size_t i = 0; i < what->Height * what->Depth && error == CUDA_SUCCESS; i++) {
        size_t row = i % what->Height, plane = i / what->Height;
        uint8_t *to =
            what->dstMemoryType == CU_MEMORYTYPE_ARRAY
                ? in_array(what->dstArray, what->dstXInBytes, what->dstY + row, what->dstZ + plane,
                           what->WidthInBytes)
                : side_3d(what->dstMemoryType, what->dstHost, what->dstDevice, what->dstPitch,
                          what->dstHeight, row, plane, what->WidthInBytes);
        uint8_t *from =
            what->srcMemoryType == CU_MEMORYTYPE_ARRAY
                ? in_array(what->srcArray, what->srcXInBytes, what->srcY + row, what->srcZ + plane,
                           what->WidthInBytes)
                : side_3d(what->srcMemoryType, (void *)what->srcHost, what->srcDevice,
                          what->srcPitch, what->srcHeight, row, plane, what->WidthInBytes);
        error = copy(to, from, what->WidthInBytes, stream);
    }
    return error;
}
static CUresult fill(CUdeviceptr to, uint32_t value, size_t element, size_t count, CUstream stream)
{
    size_t bytes;
    if (__builtin_mul_overflow(element, count, &bytes) || fake_memory(to, bytes) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return fake_queue(
        stream, (struct fake_operation){
                    .kind = FILL, .to = fake_memory(to, bytes), .bytes = bytes, .value = value});
}
static CUresult f_fill8(CUdeviceptr to, unsigned char value, size_t count, CUstream stream)
{
    return fill(to, value, 1, count, stream);
}
static CUresult f_fill16(CUdeviceptr to, unsigned short value, size_t count, CUstream stream)
{
    return fill(to, value, 2, count, stream);
}
static CUresult f_fill32(CUdeviceptr to, unsigned int value, size_t count, CUstream stream)
{
    return fill(to, value, 4, count, stream);
}
static CUresult fill_2d(CUdeviceptr to, size_t pitch, uint32_t value, size_t element, size_t width,
                        size_t height, CUstream stream)
{
    CUresult error = fake_check();
    for (size_t row = 0; row < height && error == CUDA_SUCCESS; row++)
        error = fill(to + row * pitch, value, element, width, stream);
    return error;
}
static CUresult f_fill2d8(CUdeviceptr to, size_t pitch, unsigned char value, size_t width,
                          size_t height, CUstream stream)
{
    return fill_2d(to, pitch, value, 1, width, height, stream);
}
static CUresult f_fill2d16(CUdeviceptr to, size_t pitch, unsigned short value, size_t width,
                           size_t height, CUstream stream)
{
    return fill_2d(to, pitch, value, 2, width, height, stream);
}
static CUresult f_fill2d32(CUdeviceptr to, size_t pitch, unsigned int value, size_t width,
                           size_t height, CUstream stream)
{
    return fill_2d(to, pitch, value, 4, width, height, stream);
}
static CUresult f_stream(CUstream *stream, unsigned int flags, int priority)
{
    (void)priority;
    CUresult error = fake_fail_once();
    if (error)
        return error;
    if (flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    struct fake_object *made = fake_make(STREAM, machine.current);
    made->flags = flags;
    *stream = (CUstream)made;
    return CUDA_SUCCESS;
}
static CUresult f_stream_destroy(CUstream stream)
{
    if (stream == NULL || stream == CU_STREAM_LEGACY)
        return CUDA_ERROR_INVALID_HANDLE;
    fake_need(stream, STREAM);
    fake_run(stream, UINT32_MAX);
    fake_forget(fake_need(stream, STREAM));
    return fake_check();
}
static CUresult f_stream_priority(CUstream stream, int *priority)
{
    fake_need(stream, STREAM);
    *priority = 0;
    return fake_check();
}
static CUresult f_stream_flags(CUstream stream, unsigned int *flags)
{
    *flags = fake_need_stream(stream)->flags;
    return fake_check();
}
static CUresult f_stream_query(CUstream stream)
{
    CUresult error = fake_check();
    if (error)
        return error;
    return fake_need_stream(stream)->first ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}
static CUresult f_stream_wait(CUstream stream, CUevent event, unsigned int flags)
{
    struct fake_object *waited = fake_need(event, EVENT);
    (void)flags;
    if (waited->recorded == 0)
        return CUDA_SUCCESS;
    return fake_queue(
        stream, (struct fake_operation){.kind = WAIT, .event = waited, .count = waited->recorded});
}
static CUresult f_stream_synchronise(CUstream stream)
{
    fake_need_stream(stream);
    return f_synchronise();
}
static CUresult f_event(CUevent *event, unsigned int flags)
{
    if (fake_check())
        return fake_check();
    (void)flags;
    *event = (CUevent)fake_make(EVENT, machine.current);
    return CUDA_SUCCESS;
}
static CUresult f_event_destroy(CUevent event)
{
    struct fake_object *gone = fake_need(event, EVENT);
    fake_synchronise(); /* operations of streams may name it */
    fake_forget(gone);
    return CUDA_SUCCESS;
}
static CUresult f_query(CUevent event)
{
    struct fake_object *asked = fake_need(event, EVENT);
    fake.queried++;
    if (fake.sticky)
        return fake.sticky;
    return asked->done == asked->recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
static CUresult f_event_synchronise(CUevent event)
{
    fake_need(event, EVENT);
    if (fake.sticky)
        return fake.sticky;
    fake_synchronise();
    return CUDA_SUCCESS;
}
static CUresult f_record(CUevent event, CUstream stream)
{
    struct fake_object *recorded = fake_need(event, EVENT);
    if (fake_check())
        return fake_check();
    recorded->recorded++;
    recorded->reached &= ~((uint64_t)1 << recorded->recorded % 64);
    return fake_queue(stream, (struct fake_operation){
                                  .kind = RECORD, .event = recorded, .count = recorded->recorded});
}
static CUresult f_record_flags(CUevent event, CUstream stream, unsigned int flags)
{
    return flags ? CUDA_ERROR_INVALID_VALUE : f_record(event, stream);
}
static CUresult f_elapsed(float *milliseconds, CUevent from, CUevent to)
{
    struct fake_object *first = fake_need(from, EVENT), *second = fake_need(to, EVENT);
    if (first->done != first->recorded || second->done != second->recorded)
        return CUDA_ERROR_NOT_READY;
    if (first->done == 0 || second->done == 0)
        return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = (float)((double)(int64_t)(second->time - first->time) / 1e6);
    return fake.sticky;
}
static CUresult f_write(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags)
{
    if (fake.no_write_value)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (flags || address % 4 || fake_memory(address, 4) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return fake_queue(stream, (struct fake_operation){
                                  .kind = WRITE, .to = fake_memory(address, 4), .value = value});
}
static CUresult f_host_function(CUstream stream, CUhostFn function, void *data)
{
    if (!fake_driver_table()->is_software) /* which has bells; no guest answers upcalls here */
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error = fake_fail_once();
    return error ? error
                 : fake_queue(stream, (struct fake_operation){
                                          .kind = HOST, .function = function, .to = data});
}
static CUresult f_register(void *memory, size_t bytes, unsigned int flags)
{
    CUresult error = fake_check();
    if (error || fake.no_registration)
        return error ? error : CUDA_ERROR_NOT_SUPPORTED;
    if (fake_registration((uintptr_t)memory) || !(flags & CU_MEMHOSTREGISTER_PORTABLE))
        fake_die("registered twice, or not for all contexts");
    for (size_t i = 0; i < FAKE_REGISTRATIONS; i++) {
        if (machine.registered[i].memory == NULL) {
            machine.registered[i] = (struct fake_registration){memory, bytes};
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}
static CUresult f_unregister(void *memory)
{
    struct fake_registration *registration = fake_registration((uintptr_t)memory);
    if (registration == NULL || memory != registration->memory)
        fake_die("not what was registered");
    else
        registration->memory = NULL;
    return CUDA_SUCCESS;
}
static CUresult f_device_pointer(CUdeviceptr *address, void *memory, unsigned int flags)
{
    (void)flags;
    if (fake_registration((uintptr_t)memory) == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *address = (CUdeviceptr)(uintptr_t)memory;
    return CUDA_SUCCESS;
}

static const struct vgpu_driver functions = {
    .cuInit = f_init,
    .cuDriverGetVersion = f_version,
    .cuDeviceGetCount = f_count,
    .cuDeviceGetName = f_name,
    .cuDeviceGetUuid = f_uuid,
    .cuDeviceTotalMem = f_total,
    .cuDeviceGetAttribute = f_attribute,
    .cuDevicePrimaryCtxRetain = f_retain,
    .cuDevicePrimaryCtxRelease = f_release,
    .cuDevicePrimaryCtxReset = f_reset,
    .cuDevicePrimaryCtxSetFlags = f_primary_flags,
    .cuCtxCreate_v2 = f_create,
    .cuCtxDestroy = f_destroy,
    .cuCtxSetCurrent = f_set_current,
    .cuCtxSynchronize = f_synchronise,
    .cuCtxGetLimit = f_get_limit,
    .cuCtxSetLimit = f_set_limit,
    .cuCtxGetStreamPriorityRange = f_priorities,
    .cuMemAlloc = f_alloc,
    .cuMemAllocPitch = f_alloc_pitch,
    .cuMemFree = f_free,
    .cuMemGetInfo = f_info,
    .cuMemcpyHtoDAsync = f_to_device,
    .cuMemcpyDtoHAsync = f_from_device,
    .cuMemcpyDtoDAsync = f_within_device,
    .cuMemcpy2DAsync = f_copy_2d,
    .cuMemcpy3DAsync = f_copy_3d,
    .cuMemsetD8Async = f_fill8,
    .cuMemsetD16Async = f_fill16,
    .cuMemsetD32Async = f_fill32,
    .cuMemsetD2D8Async = f_fill2d8,
    .cuMemsetD2D16Async = f_fill2d16,
    .cuMemsetD2D32Async = f_fill2d32,
    .cuStreamQuery = f_stream_query,
    .cuStreamCreateWithPriority = f_stream,
    .cuStreamDestroy = f_stream_destroy,
    .cuStreamGetFlags = f_stream_flags,
    .cuStreamGetPriority = f_stream_priority,
    .cuStreamSynchronize = f_stream_synchronise,
    .cuStreamWaitEvent = f_stream_wait,
    .cuEventCreate = f_event,
    .cuEventDestroy = f_event_destroy,
    .cuEventQuery = f_query,
    .cuEventSynchronize = f_event_synchronise,
    .cuEventRecord = f_record,
    .cuEventRecordWithFlags = f_record_flags,
    .cuEventElapsedTime = f_elapsed,
    .cuStreamWriteValue32 = f_write,
    .cuLaunchHostFunc = f_host_function,
    .cuMemHostRegister = f_register,
    .cuMemHostUnregister = f_unregister,
    .cuMemHostGetDevicePointer = f_device_pointer,
};

static struct vgpu_driver table;

/* For what this driver does not pretend to do: arguments are the caller's business in this ABI. */
static CUresult f_unsupported(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

#define FILL_IN(name)                                                                              \
    if (table.name == NULL)                                                                        \
        table.name = (__typeof__(table.name))(void *)f_unsupported;

const struct vgpu_driver *fake_driver(void)
{
    fake = (struct fake_state){0};
    fake_forget_all();
    fake = (struct fake_state){0};
    table = functions;
    fake_code_add(&table);
    fake_memory_add(&table);
    fake_array_add(&table);
    VGPU_DRIVER_REQUIRED(FILL_IN)
    VGPU_DRIVER_REFUSABLE(FILL_IN)
    return &table;
}

bool fake_is_registered(uint64_t address)
{
    return fake_registration(address) != NULL;
}

struct vgpu_driver *fake_driver_table(void)
{
    return &table;
}
