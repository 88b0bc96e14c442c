/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "interop/hmac_md2.h"
#include "interop/tests/fake_driver.h"

/* Reads "6bd5fb6c5bf4...": 32 hexadecimal digits. */
static CUuuid id_of(const char *digits)
{
    CUuuid id;

    for (int i = 0; i < 16; i++) {
        const char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
        id.bytes[i] = (char)strtoul(pair, NULL, 16);
    }
    return id;
}

static void *const *table_of(const char *digits)
{
    CUuuid id = id_of(digits);
    const void *table = NULL;

    assert_int_equal(cuGetExportTable(&table, &id), CUDA_SUCCESS);
    assert_non_null(table);
    return table;
}

#define RUNTIME   "6bd5fb6c5bf4e74a8987d93912fd9df9"
#define INTEGRITY "d4082055bde6704b8d34ba123c66e1f2"
#define IDS       "21318c60971432488ca641ff7324c8f2"

static void tables_tell_their_size_in_bytes(void **state)
{
    (void)state;
    assert_int_equal((size_t)table_of(RUNTIME)[0], 104);
    assert_int_equal((size_t)table_of("a094798c2e742e7493f20800200c0a66")[0], 56);
    assert_int_equal((size_t)table_of("42d85a8123f6cb478298f6e78a3aecdc")[0], 24);
    assert_int_equal((size_t)table_of("263e88607cd2614392f6bbd5006dfa7e")[0], 120);
    assert_int_equal((size_t)table_of(INTEGRITY)[0], 24);
    assert_int_equal((size_t)table_of(IDS)[0], 744);
    assert_int_equal((size_t)table_of("6e163fbeb958444d835ce182aff1991e")[0], 792);
    assert_int_equal((size_t)table_of("1734dc26800d47458726c0f1e7dd8bca")[0], 136);
}

static void other_tables_are_refused(void **state)
{
    CUuuid unknown = id_of("f8cff95121468b4eb9e2fb469e7c0dd9");
    const void *table = &unknown;

    (void)state;
    assert_int_equal(cuGetExportTable(&table, &unknown), CUDA_ERROR_INVALID_VALUE);
    assert_null(table);
    assert_int_equal(cuGetExportTable(NULL, &unknown), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetExportTable(&table, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void the_primary_context_is_told_by_device(void **state)
{
    CUresult (*primary)(CUcontext *, CUdevice) = table_of(RUNTIME)[2];
    CUcontext context;

    (void)state;
    assert_int_equal(primary(&context, 1), CUDA_SUCCESS);
    assert_ptr_equal(context, (char *)FAKE_CONTEXT + 1);
    assert_int_equal(primary(&context, 9), CUDA_ERROR_INVALID_DEVICE);
}

static void the_threads_context_is_always_written(void **state)
{
    CUresult (*current)(CUcontext *) = table_of("42d85a8123f6cb478298f6e78a3aecdc")[2];
    CUcontext context = (CUcontext)1;

    (void)state;
    fake_current = NULL;
    assert_int_equal(current(&context), CUDA_ERROR_INVALID_CONTEXT);
    assert_null(context);
    fake_current = FAKE_CONTEXT;
    assert_int_equal(current(&context), CUDA_SUCCESS);
    assert_ptr_equal(context, FAKE_CONTEXT);
}

static void no_callback_is_subscribed(void **state)
{
    void (*get)(uint32_t **, size_t *) = table_of("a094798c2e742e7493f20800200c0a66")[2];
    uint32_t *words;
    size_t count;

    (void)state;
    get(&words, &count);
    assert_true(count > 523);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(words[i], 0);
}

static void append(uint8_t **end, const void *bytes, size_t size)
{
    memcpy(*end, bytes, size);
    *end += size;
}

/* Packs the message of the digest byte by byte, with the fake driver's answers. */
static void the_integrity_digest_covers_process_tables_and_devices(void **state)
{
    static const uint8_t key[] = "\x14\x6a\xdd\xae\x53\xa9\xa7\x52\xaa\x08\x41\x36\x0b\xf5\x5a\x9f";
    void *const *table = table_of(INTEGRITY);
    CUresult (*check)(uint32_t, uint64_t, uint8_t *) = table[1];
    uint32_t words[4] = {FAKE_VERSION, 13002, (uint32_t)getpid(), (uint32_t)pthread_self()};
    uint64_t longs[4] = {(uintptr_t)table_of(RUNTIME), (uintptr_t)table, (uintptr_t)table[1], 77};
    uint8_t message[48 + 2 * 28], digest[16], expected[16], *end = message;

    (void)state;
    append(&end, words, sizeof(words));
    append(&end, longs, sizeof(longs));
    for (int device = 0; device < FAKE_DEVICES; device++) {
        int32_t place[3] = {500 + device, 330 + device, 340 + device};
        memset(end, 0x40 + device, 16);
        end += 16;
        append(&end, place, sizeof(place));
    }
    assert_int_equal(end - message, sizeof(message));
    vgpu_hmac_md2(key, 16, message, sizeof(message), expected);
    assert_int_equal(check(13002, 77, digest), CUDA_SUCCESS);
    assert_memory_equal(digest, expected, sizeof(digest));

    assert_int_equal(check(13000, 77, digest), CUDA_SUCCESS);
    assert_memory_equal(digest, "\x5c\x67\xcb\x03\x1c\x18\x41\x33\xe8\xd1\xf4\xa1\x3a\x38\xed\x8e",
                        8);
    assert_int_equal(check(13001, 77, digest), CUDA_SUCCESS);
    assert_int_equal(digest[7], 0x18);
}

static void streams_and_contexts_have_ids(void **state)
{
    void *const *table = table_of(IDS);
    CUresult (*context_id)(CUcontext, uint64_t *) = table[4];
    CUresult (*stream_id)(CUcontext, void *, uint64_t *) = table[39];
    CUresult (*stream_handle)(CUcontext, CUstream, void **, int) = table[51];
    uint64_t id;
    void *handle;

    (void)state;
    assert_int_equal(context_id(FAKE_CONTEXT, &id), CUDA_SUCCESS);
    assert_int_equal(id, 0x1001);
    assert_int_equal(stream_handle(FAKE_CONTEXT, (CUstream)-1, &handle, 0),
                     CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(stream_handle(FAKE_CONTEXT, NULL, &handle, 0), CUDA_SUCCESS);
    assert_non_null(handle);
    assert_int_equal(stream_id(FAKE_CONTEXT, handle, &id), CUDA_SUCCESS);
    assert_int_equal(id, 100 + (uintptr_t)CU_STREAM_LEGACY);
    assert_int_equal(stream_handle(FAKE_CONTEXT, NULL, &handle, 1), CUDA_SUCCESS);
    assert_int_equal(stream_id(FAKE_CONTEXT, handle, &id), CUDA_SUCCESS);
    assert_int_equal(id, 100 + (uintptr_t)CU_STREAM_PER_THREAD);
    assert_int_equal(stream_handle(FAKE_CONTEXT, (CUstream)0x5000, &handle, 0), CUDA_SUCCESS);
    assert_int_equal(stream_id(FAKE_CONTEXT, handle, &id), CUDA_SUCCESS);
    assert_int_equal(id, 0x5000 + 100);
}

static void sum_functions(void *data, CUfunction function)
{
    *(uintptr_t *)data += (uintptr_t)function;
}

static void each_function_of_a_module_is_visited(void **state)
{
    int (*visit)(CUcontext, CUmodule, void (*)(void *, CUfunction), void *) =
        table_of("6e163fbeb958444d835ce182aff1991e")[7];
    uintptr_t sum = 0;

    (void)state;
    assert_int_equal(visit(FAKE_CONTEXT, (CUmodule)3, sum_functions, &sum), 3);
    assert_int_equal(sum, 0x100 + 0x101 + 0x102);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_tell_their_size_in_bytes),
        cmocka_unit_test(other_tables_are_refused),
        cmocka_unit_test(the_primary_context_is_told_by_device),
        cmocka_unit_test(the_threads_context_is_always_written),
        cmocka_unit_test(no_callback_is_subscribed),
        cmocka_unit_test(the_integrity_digest_covers_process_tables_and_devices),
        cmocka_unit_test(streams_and_contexts_have_ids),
        cmocka_unit_test(each_function_of_a_module_is_visited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
