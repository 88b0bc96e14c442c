/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "driver_test.h"

static int attribute(CUdevice_attribute which)
{
    int value = -12345;

    assert_cuda(cuDeviceGetAttribute(&value, which, 0));
    return value;
}

static void before_cuinit_nothing_works(void **state)
{
    CUcontext context;
    int count;

    (void)state;
    assert_cuda_error(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
    assert_cuda_error(cuCtxGetCurrent(&context), CUDA_ERROR_NOT_INITIALIZED);
    assert_cuda_error(cuInit(1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuDriverGetVersion(&count));
    assert_int_equal(count, 13000);
    assert_cuda(cuInit(0));
    assert_cuda(cuInit(0));
}

static void devices_are_as_many_as_the_environment_says(void **state)
{
    CUdevice device;
    int count;

    (void)state;
    assert_cuda(cuDeviceGetCount(&count));
    assert_int_equal(count, 2);
    assert_cuda(cuDeviceGet(&device, 1));
    assert_cuda_error(cuDeviceGet(&device, 2), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda_error(cuDeviceGet(&device, -1), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda_error(cuDeviceGet(NULL, 0), CUDA_ERROR_INVALID_VALUE);
}

static void a_device_says_what_it_is(void **state)
{
    char name[64], cut[5];
    CUuuid first, second;
    size_t bytes;

    (void)state;
    assert_cuda(cuDeviceGetName(name, sizeof(name), 0));
    assert_string_equal(name, "vgpu Software GPU");
    assert_cuda(cuDeviceGetName(cut, sizeof(cut), 0));
    assert_string_equal(cut, "vgpu");
    assert_cuda(cuDeviceTotalMem(&bytes, 0));
    assert_int_equal(bytes, 64 << 20);
    assert_cuda(cuDeviceGetUuid(&first, 0));
    assert_cuda(cuDeviceGetUuid(&second, 1));
    assert_memory_not_equal(&first, &second, sizeof(first));
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 13);
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR), 0);
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 1024);
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
                     sysconf(_SC_NPROCESSORS_ONLN));
    for (int i = 1; i < CU_DEVICE_ATTRIBUTE_MAX; i++)
        attribute((CUdevice_attribute)i);
}

static void devices_are_found_by_pci_address(void **state)
{
    char id[16];
    CUdevice device;

    (void)state;
    assert_cuda(cuDeviceGetPCIBusId(id, sizeof(id), 1));
    assert_string_equal(id, "0000:02:00.0");
    assert_cuda(cuDeviceGetByPCIBusId(&device, id));
    assert_int_equal(device, 1);
    assert_cuda_error(cuDeviceGetByPCIBusId(&device, "0000:01:00.0"), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda_error(cuDeviceGetByPCIBusId(&device, "0000:ff:00.0"), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda_error(cuDeviceGetByPCIBusId(&device, "nonsense"), CUDA_ERROR_INVALID_VALUE);
}

static void errors_have_names_and_texts(void **state)
{
    const char *text;

    (void)state;
    assert_cuda(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    assert_string_equal(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_cuda(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
    assert_string_equal(text, "out of memory");
    assert_cuda_error(cuGetErrorName((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_cuinit_nothing_works),
        cmocka_unit_test(devices_are_as_many_as_the_environment_says),
        cmocka_unit_test(a_device_says_what_it_is),
        cmocka_unit_test(devices_are_found_by_pci_address),
        cmocka_unit_test(errors_have_names_and_texts),
    };
    setenv("VGPU_SOFT_DEVICES", "4", 1);
    setenv("CUDA_VISIBLE_DEVICES", "3,1,9,2", 1);
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
