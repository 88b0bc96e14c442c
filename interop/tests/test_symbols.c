/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "interop/symbols.h"
#include "interop/tests/fake_driver.h"

static void *look_up(const char *name, int version, cuuint64_t flags, int expected_status)
{
    CUdriverProcAddressQueryResult status = 99;
    void *address = (void *)1;

    assert_int_equal(cuGetProcAddress_v2(name, &address, version, flags, &status), CUDA_SUCCESS);
    assert_int_equal(status, expected_status);
    return address;
}

static void the_newest_abi_that_the_version_knows_is_chosen(void **state)
{
    (void)state;
    assert_ptr_equal(look_up("cuMemAlloc", 2000, 0, 0), cuMemAlloc);
    assert_ptr_equal(look_up("cuMemAlloc", 3010, 0, 0), cuMemAlloc);
    assert_ptr_equal(look_up("cuMemAlloc", 3020, 0, 0), cuMemAlloc_v2);
    assert_ptr_equal(look_up("cuMemAlloc", 13000, 0, 0), cuMemAlloc_v2);
    assert_ptr_equal(look_up("cuCtxCreate", 11040, 0, 0), cuCtxCreate_v3);
    assert_ptr_equal(look_up("cuCtxCreate", 12050, 0, 0), cuCtxCreate_v4);
    assert_ptr_equal(look_up("cuDeviceGetUuid", 13000, 0, 0), cuDeviceGetUuid_v2);
    assert_ptr_equal(look_up("cuGetProcAddress", 11030, 0, 0), cuGetProcAddress);
    assert_ptr_equal(look_up("cuGetProcAddress", 12000, 0, 0), cuGetProcAddress_v2);
    assert_ptr_equal(look_up("cuInit", 2000, 0, 0), cuInit);
    assert_ptr_equal(look_up("cuWaitExternalSemaphoresAsync", 13000, 0, 0),
                     cuWaitExternalSemaphoresAsync);
}

static void per_thread_variants_are_preferred_when_asked_for(void **state)
{
    const cuuint64_t per_thread = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

    (void)state;
    assert_ptr_equal(look_up("cuLaunchKernel", 13000, per_thread, 0), cuLaunchKernel_ptsz);
    assert_ptr_equal(look_up("cuMemcpyHtoD", 13000, per_thread, 0), cuMemcpyHtoD_v2_ptds);
    assert_ptr_equal(look_up("cuStreamWaitValue32", 8000, per_thread, 0), cuStreamWaitValue32_ptsz);
    assert_ptr_equal(look_up("cuStreamWaitValue32", 11070, per_thread, 0),
                     cuStreamWaitValue32_v2_ptsz);
    /* No twin, or none yet at that version. */
    assert_ptr_equal(look_up("cuMemAlloc", 13000, per_thread, 0), cuMemAlloc_v2);
    assert_ptr_equal(look_up("cuMemcpyHtoD", 6050, per_thread, 0), cuMemcpyHtoD_v2);
    assert_ptr_equal(look_up("cuLaunchKernel", 13000, CU_GET_PROC_ADDRESS_LEGACY_STREAM, 0),
                     cuLaunchKernel);
}

static void what_cannot_be_had_is_null_with_a_reason(void **state)
{
    (void)state;
    assert_null(look_up("", 0, 0, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
    assert_null(look_up("cuNoSuchThing", 13000, 0, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
    assert_null(look_up("cuMemAlloc_v2", 13000, 0, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
    assert_null(look_up("cuLaunchKernelEx", 11000, 0, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT));
}

static void wrong_arguments_are_refused(void **state)
{
    void *address;

    (void)state;
    assert_int_equal(cuGetProcAddress_v2("cuInit", &address, FAKE_VERSION + 10, 0, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress_v2(NULL, &address, 13000, 0, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress_v2("cuInit", NULL, 13000, 0, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress_v2("cuInit", &address, 13000, 8, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress_v2("cuInit", &address, 13000, 3, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress("cuInit", &address, 13000, 0), CUDA_SUCCESS);
}

static void an_unimplemented_function_says_so_and_logs_once(void **state)
{
    char text[256];
    int saved = dup(STDERR_FILENO), pipes[2];
    ssize_t length;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    assert_int_equal(cuGraphCreate(NULL, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(cuGraphCreate(NULL, 0), CUDA_ERROR_NOT_SUPPORTED);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[1]);
    length = read(pipes[0], text, sizeof(text) - 1);
    assert_true(length > 0);
    text[length] = '\0';
    assert_string_equal(text, "vgpu: cuGraphCreate is not supported (CUDA_ERROR_NOT_SUPPORTED)\n");
    close(pipes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_abi_that_the_version_knows_is_chosen),
        cmocka_unit_test(per_thread_variants_are_preferred_when_asked_for),
        cmocka_unit_test(what_cannot_be_had_is_null_with_a_reason),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(an_unimplemented_function_says_so_and_logs_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
