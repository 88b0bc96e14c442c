/* SPDX-License-Identifier: MIT */
/* The whole library where there is no GPU: what a program sees before and without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "interop/driver_api.h"

static void asked_before_init(void **state)
{
    (void)state;
    int count, version = 0;
    CUcontext context;
    CUdeviceptr address;
    assert_int_equal(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuCtxGetCurrent(&context), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuMemAlloc_v2(&address, 16), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuStreamSynchronize(NULL), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuLibraryUnload((CUlibrary)16), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuDriverGetVersion(&version), CUDA_SUCCESS);
    assert_int_equal(version, 13000);
}

static void without_a_host_there_is_no_device(void **state)
{
    (void)state;
    CUresult error = cuInit(0);
    assert_int_equal(cuInit(1), CUDA_ERROR_INVALID_VALUE);
    assert_int_not_equal(error, CUDA_SUCCESS);
    assert_int_equal(cuInit(0), error);
}

static void *find(const char *name, int version, cuuint64_t flags)
{
    void *function = NULL;
    CUdriverProcAddressQueryResult status;
    assert_int_equal(cuGetProcAddress_v2(name, &function, version, flags, &status), CUDA_SUCCESS);
    return function;
}

static void names_lead_to_the_functions_here(void **state)
{
    (void)state;
    assert_ptr_equal(find("cuInit", 13000, 0), (void *)cuInit);
    assert_ptr_equal(find("cuMemAlloc", 13000, 0), (void *)cuMemAlloc_v2);
    assert_ptr_equal(find("cuCtxCreate", 13000, 0), (void *)cuCtxCreate_v4);
    assert_ptr_equal(find("cuCtxCreate", 11040, 0), (void *)cuCtxCreate_v3);
    assert_ptr_equal(find("cuLaunchKernel", 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM),
                     (void *)cuLaunchKernel_ptsz);
    assert_ptr_equal(find("cuMemcpyHtoD", 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM),
                     (void *)cuMemcpyHtoD_v2_ptds);
    assert_null(find("cuNoSuchFunction", 13000, 0));
}

int main(void)
{
    setenv("VGPU_SOCKET", "/nonexistent/vgpu.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_before_init),
        cmocka_unit_test(without_a_host_there_is_no_device),
        cmocka_unit_test(names_lead_to_the_functions_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
