/* SPDX-License-Identifier: MIT */
/* Streams and events. */
#include "tests/driver_api/cases.h"

static CUstream new_stream(void)
{
    CUstream stream;
    NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

static CUevent new_event(unsigned int flags)
{
    CUevent event;
    NEED(cuEventCreate(&event, flags));
    return event;
}

static CUstream destroyed_stream(void)
{
    CUstream stream = new_stream();
    NEED(cuStreamDestroy(stream));
    return stream;
}

static CUevent destroyed_event(void)
{
    CUevent event = new_event(0);
    NEED(cuEventDestroy(event));
    return event;
}

CASE(stream_flags)
{
    CUstream stream;
    return cuStreamCreate(&stream, 0x70);
}

CASE(stream_null)
{
    return cuStreamCreate(NULL, 0);
}

CASE(stream_priority_wide)
{
    CUstream stream;
    int priority = 99, least, greatest;
    NEED(cuCtxGetStreamPriorityRange(&least, &greatest));
    NEED(cuStreamCreateWithPriority(&stream, 0, -1000));
    NEED(cuStreamGetPriority(stream, &priority));
    return priority == greatest ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(stream_flags_read)
{
    unsigned int flags = 0;
    NEED(cuStreamGetFlags(new_stream(), &flags));
    return flags == CU_STREAM_NON_BLOCKING ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(stream_context)
{
    CUcontext context, owner = NULL;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuStreamGetCtx(new_stream(), &owner));
    return owner == context ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(stream_destroy_null)
{
    return cuStreamDestroy(NULL);
}

CASE(stream_destroy_legacy)
{
    return cuStreamDestroy(CU_STREAM_LEGACY);
}

CASE(stream_destroy_twice)
{
    return cuStreamDestroy(destroyed_stream());
}

CASE(stream_destroyed_query)
{
    return cuStreamQuery(destroyed_stream());
}

CASE(stream_destroyed_synchronize)
{
    return cuStreamSynchronize(destroyed_stream());
}

CASE(stream_idle)
{
    return cuStreamQuery(new_stream());
}

CASE(stream_default_idle)
{
    return cuStreamQuery(NULL);
}

CASE(stream_per_thread_idle)
{
    return cuStreamQuery(CU_STREAM_PER_THREAD);
}

CASE(stream_wait_null_event)
{
    return cuStreamWaitEvent(new_stream(), NULL, 0);
}

CASE(stream_wait_unrecorded)
{
    CUstream stream = new_stream();
    NEED(cuStreamWaitEvent(stream, new_event(0), 0));
    return cuStreamSynchronize(stream);
}

CASE(stream_wait_flags)
{
    return cuStreamWaitEvent(new_stream(), new_event(0), 0x100);
}

CASE(stream_wait_destroyed)
{
    return cuStreamWaitEvent(new_stream(), destroyed_event(), 0);
}

CASE(stream_capturing)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    NEED(cuStreamIsCapturing(new_stream(), &status));
    return status == CU_STREAM_CAPTURE_STATUS_NONE ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(stream_ids_differ)
{
    unsigned long long first = 0, second = 0;
    NEED(cuStreamGetId(new_stream(), &first));
    NEED(cuStreamGetId(new_stream(), &second));
    return first != second ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(event_flags)
{
    CUevent event;
    return cuEventCreate(&event, 0x80);
}

CASE(event_interprocess_timing)
{
    CUevent event;
    return cuEventCreate(&event, CU_EVENT_INTERPROCESS);
}

CASE(event_null)
{
    return cuEventCreate(NULL, 0);
}

CASE(event_unrecorded_query)
{
    return cuEventQuery(new_event(0));
}

CASE(event_unrecorded_synchronize)
{
    return cuEventSynchronize(new_event(0));
}

CASE(event_unrecorded_elapsed)
{
    float milliseconds;
    return cuEventElapsedTime(&milliseconds, new_event(0), new_event(0));
}

CASE(event_elapsed)
{
    CUevent start = new_event(0), end = new_event(0);
    float milliseconds = -1;
    NEED(cuEventRecord(start, NULL));
    NEED(cuEventRecord(end, NULL));
    NEED(cuEventSynchronize(end));
    NEED(cuEventElapsedTime(&milliseconds, start, end));
    return milliseconds >= 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(event_elapsed_untimed)
{
    CUevent start = new_event(CU_EVENT_DISABLE_TIMING), end = new_event(0);
    float milliseconds;
    NEED(cuEventRecord(start, NULL));
    NEED(cuEventRecord(end, NULL));
    NEED(cuEventSynchronize(end));
    return cuEventElapsedTime(&milliseconds, start, end);
}

CASE(event_elapsed_null)
{
    CUevent event = new_event(0);
    float milliseconds;
    NEED(cuEventRecord(event, NULL));
    return cuEventElapsedTime(&milliseconds, event, NULL);
}

CASE(event_not_ready)
{
    CUfunction function = test_kernel("busy");
    CUdeviceptr out = test_memory(16);
    unsigned int rounds = 100000000;
    void *parameters[] = {&out, &rounds};
    CUevent event = new_event(0);
    NEED(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    NEED(cuEventRecord(event, NULL));
    return cuEventQuery(event);
}

CASE(event_destroy_null)
{
    return cuEventDestroy(NULL);
}

CASE(event_destroy_twice)
{
    return cuEventDestroy(destroyed_event());
}

CASE(event_destroyed_record)
{
    return cuEventRecord(destroyed_event(), NULL);
}

CASE(event_record_null)
{
    return cuEventRecord(NULL, NULL);
}

CASE(event_record_destroyed_stream)
{
    CUevent event = new_event(0);
    return cuEventRecord(event, destroyed_stream());
}

CASE(event_other_context)
{
    CUevent event = new_event(0);
    CUcontext context;
    NEED(cuCtxCreate(&context, NULL, 0, 0));
    return cuEventRecord(event, NULL);
}

CASE(stream_other_context)
{
    CUstream stream = new_stream();
    CUcontext context;
    NEED(cuCtxCreate(&context, NULL, 0, 0));
    return cuStreamSynchronize(stream);
}

const struct test_case stream_cases[] = {
    {"stream_flags", stream_flags, CUDA_ERROR_INVALID_VALUE, READY},
    {"stream_null", stream_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"stream_priority_wide", stream_priority_wide, CUDA_SUCCESS, READY},
    {"stream_flags_read", stream_flags_read, CUDA_SUCCESS, READY},
    {"stream_context", stream_context, CUDA_SUCCESS, READY},
    {"stream_destroy_null", stream_destroy_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"stream_destroy_legacy", stream_destroy_legacy, CUDA_ERROR_INVALID_HANDLE, READY},
    {"stream_destroy_twice", stream_destroy_twice, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"stream_destroyed_query", stream_destroyed_query, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"stream_destroyed_synchronize", stream_destroyed_synchronize, CUDA_ERROR_INVALID_HANDLE,
     FATAL},
    {"stream_idle", stream_idle, CUDA_SUCCESS, READY},
    {"stream_default_idle", stream_default_idle, CUDA_SUCCESS, READY},
    {"stream_per_thread_idle", stream_per_thread_idle, CUDA_SUCCESS, READY},
    {"stream_wait_null_event", stream_wait_null_event, CUDA_ERROR_INVALID_HANDLE, READY},
    {"stream_wait_unrecorded", stream_wait_unrecorded, CUDA_SUCCESS, READY},
    {"stream_wait_flags", stream_wait_flags, CUDA_ERROR_INVALID_VALUE, READY},
    {"stream_wait_destroyed", stream_wait_destroyed, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"stream_capturing", stream_capturing, CUDA_SUCCESS, READY},
    {"stream_ids_differ", stream_ids_differ, CUDA_SUCCESS, READY},
    {"event_flags", event_flags, CUDA_ERROR_INVALID_VALUE, READY},
    {"event_interprocess_timing", event_interprocess_timing, CUDA_ERROR_INVALID_VALUE, READY},
    {"event_null", event_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"event_unrecorded_query", event_unrecorded_query, CUDA_SUCCESS, READY},
    {"event_unrecorded_synchronize", event_unrecorded_synchronize, CUDA_SUCCESS, READY},
    {"event_unrecorded_elapsed", event_unrecorded_elapsed, CUDA_ERROR_INVALID_HANDLE, READY},
    {"event_elapsed", event_elapsed, CUDA_SUCCESS, READY},
    {"event_elapsed_untimed", event_elapsed_untimed, CUDA_ERROR_INVALID_HANDLE, READY},
    {"event_elapsed_null", event_elapsed_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"event_not_ready", event_not_ready, CUDA_ERROR_NOT_READY, READY},
    {"event_destroy_null", event_destroy_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"event_destroy_twice", event_destroy_twice, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"event_destroyed_record", event_destroyed_record, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"event_record_null", event_record_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"event_record_destroyed_stream", event_record_destroyed_stream, CUDA_ERROR_INVALID_HANDLE,
     FATAL},
    {"event_other_context", event_other_context, CUDA_ERROR_INVALID_HANDLE, READY},
    {"stream_other_context", stream_other_context, CUDA_SUCCESS, READY},
    {0},
};
