/* SPDX-License-Identifier: MIT */
/** What the tests of the driver share: cmocka, cuda.h as a program sees it, a context, kernels in
 * PTX. */
#ifndef VGPU_SOFT_DRIVER_TESTS_H
#define VGPU_SOFT_DRIVER_TESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda.h>

#define assert_cuda(call)              assert_int_equal(call, CUDA_SUCCESS)
#define assert_cuda_error(call, error) assert_int_equal(call, error)

/** For a test's setup and teardown: the primary context of device 0, current and fresh. */
int context_opens(void **state);
int context_closes(void **state);

/**
 * PTX text with:
 * vector_add(float *sum, const float *a, const float *b, unsigned n)
 * poke(int *where, int value): one thread stores one word
 * spin(const int *flag): one thread waits until *flag is not 0
 * mixed(long *out, char c, long l, struct of 12 bytes, short s): stores the sum of all
 * limited(): .maxntid 64
 * shared_words(int *out): writes %dynamic_smem_size
 * and the variables `counter` (int, 7) and `table` (int[4], 10 20 30 40).
 */
extern const char test_ptx[];

#endif
