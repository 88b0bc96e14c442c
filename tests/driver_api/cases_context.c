/* SPDX-License-Identifier: MIT */
/* Start-up, devices and contexts. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/cases.h"

CASE(count_before_init)
{
    int count;
    return cuDeviceGetCount(&count);
}

CASE(alloc_before_init)
{
    CUdeviceptr address;
    return cuMemAlloc(&address, 16);
}

CASE(current_before_init)
{
    CUcontext context;
    return cuCtxGetCurrent(&context);
}

CASE(version_before_init)
{
    int version = 0;
    CUresult error = cuDriverGetVersion(&version);
    return error ? error : version >= 12000 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(version_null)
{
    return cuDriverGetVersion(NULL);
}

CASE(init_flags)
{
    return cuInit(1);
}

CASE(init_hidden)
{
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    return cuInit(0);
}

CASE(init_hidden_minus)
{
    setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
    return cuInit(0);
}

CASE(error_name_unknown)
{
    const char *name = "";
    CUresult error = cuGetErrorName((CUresult)77777, &name);
    return name == NULL ? error : CUDA_ERROR_UNKNOWN;
}

CASE(device_wrong)
{
    CUdevice device;
    return cuDeviceGet(&device, 4711);
}

CASE(device_negative)
{
    CUdevice device;
    return cuDeviceGet(&device, -1);
}

CASE(device_null)
{
    return cuDeviceGet(NULL, 0);
}

CASE(attribute_wrong)
{
    int value;
    return cuDeviceGetAttribute(&value, (CUdevice_attribute)9999, 0);
}

CASE(attribute_device_wrong)
{
    int value;
    return cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 4711);
}

CASE(name_short)
{
    char name[4] = "xxx";
    CUresult error = cuDeviceGetName(name, 4, 0);
    return name[3] == 0 ? error : CUDA_ERROR_UNKNOWN;
}

CASE(bus_id_wrong)
{
    CUdevice device;
    return cuDeviceGetByPCIBusId(&device, "ffff:ff:1f.0");
}

CASE(bus_id_short)
{
    char text[4];
    return cuDeviceGetPCIBusId(text, sizeof(text), 0);
}

CASE(bus_id_round)
{
    char text[32];
    CUdevice device = -1;
    NEED(cuDeviceGetPCIBusId(text, sizeof(text), 0));
    NEED(cuDeviceGetByPCIBusId(&device, text));
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(no_context_alloc)
{
    CUdeviceptr address;
    return cuMemAlloc(&address, 16);
}

CASE(no_context_device)
{
    CUdevice device;
    return cuCtxGetDevice(&device);
}

CASE(no_context_synchronize)
{
    return cuCtxSynchronize();
}

CASE(no_context_current)
{
    CUcontext context = (CUcontext)1;
    CUresult error = cuCtxGetCurrent(&context);
    return context == NULL ? error : CUDA_ERROR_UNKNOWN;
}

CASE(no_context_pop)
{
    CUcontext context;
    return cuCtxPopCurrent(&context);
}

CASE(push_null)
{
    return cuCtxPushCurrent(NULL);
}

CASE(create_wrong_device)
{
    CUcontext context;
    return cuCtxCreate(&context, NULL, 0, 4711);
}

CASE(create_wrong_flags)
{
    CUcontext context;
    return cuCtxCreate(&context, NULL, 0x40000000, 0);
}

CASE(create_null)
{
    return cuCtxCreate(NULL, NULL, 0, 0);
}

CASE(destroy_null)
{
    return cuCtxDestroy(NULL);
}

CASE(destroy_twice)
{
    CUcontext context;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuCtxDestroy(context));
    /* NVIDIA's driver sometimes still knows that it was one. */
    CUresult error = cuCtxDestroy(context);
    return error == CUDA_ERROR_CONTEXT_IS_DESTROYED ? CUDA_ERROR_INVALID_CONTEXT : error;
}

CASE(destroy_pops)
{
    CUcontext first, second, now;
    NEED(cuCtxGetCurrent(&first));
    NEED(cuCtxCreate(&second, NULL, 0, 0));
    NEED(cuCtxDestroy(second));
    NEED(cuCtxGetCurrent(&now));
    return now == first ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(destroy_below)
{
    /* The context below the current one dies, and then comes to the top. */
    CUcontext first, second;
    CUdeviceptr address;
    NEED(cuCtxGetCurrent(&first));
    NEED(cuCtxCreate(&second, NULL, 0, 0));
    NEED(cuCtxDestroy(first));
    NEED(cuCtxDestroy(second));
    return cuMemAlloc(&address, 16);
}

CASE(destroy_below_current)
{
    CUcontext first, second, now = NULL;
    NEED(cuCtxGetCurrent(&first));
    NEED(cuCtxCreate(&second, NULL, 0, 0));
    NEED(cuCtxDestroy(first));
    NEED(cuCtxDestroy(second));
    NEED(cuCtxGetCurrent(&now));
    return now == first ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(destroyed_set_current)
{
    CUcontext context;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuCtxDestroy(context));
    return cuCtxSetCurrent(context);
}

CASE(destroyed_push)
{
    CUcontext context;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuCtxDestroy(context));
    return cuCtxPushCurrent(context);
}

CASE(destroyed_version)
{
    CUcontext context;
    unsigned int version;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuCtxDestroy(context));
    return cuCtxGetApiVersion(context, &version);
}

CASE(set_current_null)
{
    CUcontext context = (CUcontext)1;
    NEED(cuCtxSetCurrent(NULL));
    NEED(cuCtxGetCurrent(&context));
    return context == NULL ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(limit_wrong)
{
    return cuCtxSetLimit((CUlimit)99, 1);
}

CASE(limit_read)
{
    size_t value = 0;
    NEED(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
    return value > 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(flags_read)
{
    unsigned int flags = ~0u;
    NEED(cuCtxGetFlags(&flags));
    return (flags & ~CU_CTX_FLAGS_MASK) == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(primary_state)
{
    unsigned int flags = 1;
    int active = 1;
    NEED(cuDevicePrimaryCtxGetState(0, &flags, &active));
    return active == 0 && flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(primary_release_unretained)
{
    return cuDevicePrimaryCtxRelease(0);
}

CASE(primary_wrong_device)
{
    CUcontext context;
    return cuDevicePrimaryCtxRetain(&context, 4711);
}

CASE(primary_released_use)
{
    CUcontext context;
    CUdeviceptr address;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuCtxSetCurrent(context));
    NEED(cuDevicePrimaryCtxRelease(0));
    return cuMemAlloc(&address, 16);
}

CASE(primary_released_device)
{
    CUcontext context;
    CUdevice device;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuCtxSetCurrent(context));
    NEED(cuDevicePrimaryCtxRelease(0));
    return cuCtxGetDevice(&device);
}

CASE(primary_released_set_current)
{
    CUcontext context;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuDevicePrimaryCtxRelease(0));
    return cuCtxSetCurrent(context);
}

CASE(primary_same_handle)
{
    CUcontext first, second;
    CUdeviceptr address;
    NEED(cuDevicePrimaryCtxRetain(&first, 0));
    NEED(cuDevicePrimaryCtxRelease(0));
    NEED(cuDevicePrimaryCtxRetain(&second, 0));
    NEED(cuCtxSetCurrent(second));
    NEED(cuMemAlloc(&address, 16));
    return first == second ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(primary_reset_use)
{
    CUcontext context;
    CUdeviceptr address;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuCtxSetCurrent(context));
    NEED(cuDevicePrimaryCtxReset(0));
    return cuMemAlloc(&address, 16);
}

CASE(primary_reset_state)
{
    CUcontext context;
    unsigned int flags;
    int active = 1;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuDevicePrimaryCtxReset(0));
    NEED(cuDevicePrimaryCtxGetState(0, &flags, &active));
    return active ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

CASE(primary_reset_release)
{
    CUcontext context;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuDevicePrimaryCtxReset(0));
    return cuDevicePrimaryCtxRelease(0);
}

CASE(primary_reset_retain_release)
{
    /* Does the count survive the reset? Two releases are then one too few or one too many. */
    CUcontext context;
    int active = 0;
    unsigned int flags;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuDevicePrimaryCtxReset(0));
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuDevicePrimaryCtxRelease(0));
    NEED(cuDevicePrimaryCtxGetState(0, &flags, &active));
    return active ? CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE : CUDA_SUCCESS;
}

CASE(primary_destroy)
{
    CUcontext context;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    return cuCtxDestroy(context);
}

CASE(primary_flags_wrong)
{
    return cuDevicePrimaryCtxSetFlags(0, 0x40000000);
}

CASE(primary_flags_kept)
{
    unsigned int flags = 0;
    int active;
    NEED(cuDevicePrimaryCtxSetFlags(0, CU_CTX_SCHED_BLOCKING_SYNC));
    NEED(cuDevicePrimaryCtxGetState(0, &flags, &active));
    return flags == CU_CTX_SCHED_BLOCKING_SYNC ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(fork_child)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        CUdeviceptr address;
        _exit(cuMemAlloc(&address, 16) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? cuCtxSynchronize() : CUDA_ERROR_UNKNOWN;
}

CASE(fork_child_init)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(cuInit(0) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? cuCtxSynchronize() : CUDA_ERROR_UNKNOWN;
}

CASE(fork_before_init)
{
    int status = 0, version;
    pid_t child;
    NEED(cuDriverGetVersion(&version));
    child = fork();
    if (child == 0)
        _exit(cuInit(0) == CUDA_SUCCESS ? 0 : 1);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? cuInit(0) : CUDA_ERROR_UNKNOWN;
}

CASE(export_table_unknown)
{
    static const CUuuid id = {{1, 2, 3}};
    const void *table = &id;
    CUresult error = cuGetExportTable(&table, &id);
    return table == NULL ? error : CUDA_ERROR_UNKNOWN;
}

const struct test_case context_cases[] = {
    {"count_before_init", count_before_init, CUDA_ERROR_NOT_INITIALIZED, BARE},
    {"alloc_before_init", alloc_before_init, CUDA_ERROR_NOT_INITIALIZED, BARE},
    {"current_before_init", current_before_init, CUDA_ERROR_NOT_INITIALIZED, BARE},
    {"version_before_init", version_before_init, CUDA_SUCCESS, BARE},
    {"version_null", version_null, CUDA_ERROR_INVALID_VALUE, BARE},
    {"init_flags", init_flags, CUDA_ERROR_INVALID_VALUE, BARE},
    {"init_hidden", init_hidden, CUDA_ERROR_NO_DEVICE, BARE},
    {"init_hidden_minus", init_hidden_minus, CUDA_ERROR_NO_DEVICE, BARE},
    {"error_name_unknown", error_name_unknown, CUDA_ERROR_INVALID_VALUE, BARE},
    {"device_wrong", device_wrong, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"device_negative", device_negative, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"device_null", device_null, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"attribute_wrong", attribute_wrong, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"attribute_device_wrong", attribute_device_wrong, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"name_short", name_short, CUDA_SUCCESS, INITIALISED},
    {"bus_id_wrong", bus_id_wrong, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"bus_id_short", bus_id_short, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"bus_id_round", bus_id_round, CUDA_SUCCESS, INITIALISED},
    {"no_context_alloc", no_context_alloc, CUDA_ERROR_INVALID_CONTEXT, INITIALISED},
    {"no_context_device", no_context_device, CUDA_ERROR_INVALID_CONTEXT, INITIALISED},
    {"no_context_synchronize", no_context_synchronize, CUDA_ERROR_INVALID_CONTEXT, INITIALISED},
    {"no_context_current", no_context_current, CUDA_SUCCESS, INITIALISED},
    {"no_context_pop", no_context_pop, CUDA_ERROR_INVALID_CONTEXT, INITIALISED},
    {"push_null", push_null, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"create_wrong_device", create_wrong_device, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"create_wrong_flags", create_wrong_flags, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"create_null", create_null, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"destroy_null", destroy_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"destroy_twice", destroy_twice, CUDA_ERROR_INVALID_CONTEXT, READY},
    {"destroy_pops", destroy_pops, CUDA_SUCCESS, READY},
    {"destroy_below", destroy_below, CUDA_ERROR_CONTEXT_IS_DESTROYED, READY},
    {"destroy_below_current", destroy_below_current, CUDA_SUCCESS, READY},
    {"destroyed_set_current", destroyed_set_current, CUDA_SUCCESS, READY},
    {"destroyed_push", destroyed_push, CUDA_SUCCESS, READY},
    {"destroyed_version", destroyed_version, CUDA_ERROR_INVALID_CONTEXT, READY},
    {"set_current_null", set_current_null, CUDA_SUCCESS, READY},
    {"limit_wrong", limit_wrong, CUDA_ERROR_INVALID_VALUE, READY},
    {"limit_read", limit_read, CUDA_SUCCESS, READY},
    {"flags_read", flags_read, CUDA_SUCCESS, READY},
    {"primary_state", primary_state, CUDA_SUCCESS, INITIALISED},
    {"primary_release_unretained", primary_release_unretained, CUDA_ERROR_INVALID_CONTEXT,
     INITIALISED},
    {"primary_wrong_device", primary_wrong_device, CUDA_ERROR_INVALID_DEVICE, INITIALISED},
    {"primary_released_use", primary_released_use, CUDA_ERROR_CONTEXT_IS_DESTROYED, INITIALISED},
    {"primary_released_device", primary_released_device, CUDA_SUCCESS, INITIALISED},
    {"primary_released_set_current", primary_released_set_current, CUDA_SUCCESS, INITIALISED},
    {"primary_same_handle", primary_same_handle, CUDA_SUCCESS, INITIALISED},
    {"primary_reset_use", primary_reset_use, CUDA_ERROR_CONTEXT_IS_DESTROYED, INITIALISED},
    {"primary_reset_state", primary_reset_state, CUDA_SUCCESS, INITIALISED},
    {"primary_reset_release", primary_reset_release, CUDA_SUCCESS, INITIALISED},
    {"primary_reset_retain_release", primary_reset_retain_release,
     CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, INITIALISED},
    {"primary_destroy", primary_destroy, CUDA_ERROR_INVALID_CONTEXT, INITIALISED},
    {"primary_flags_wrong", primary_flags_wrong, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {"primary_flags_kept", primary_flags_kept, CUDA_SUCCESS, INITIALISED},
    {"fork_child", fork_child, CUDA_SUCCESS, READY},
    {"fork_child_init", fork_child_init, CUDA_SUCCESS, READY},
    {"fork_before_init", fork_before_init, CUDA_SUCCESS, BARE},
    {"export_table_unknown", export_table_unknown, CUDA_ERROR_INVALID_VALUE, INITIALISED},
    {0},
};
