/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "interop/tests/fake_driver.h"

static const CUuuid storage_id = {{(char)0xc6, (char)0x93, 0x33, 0x6e, 0x11, 0x21, (char)0xdf, 0x11,
                                   (char)0xa8, (char)0xc3, 0x68, (char)0xf3, 0x55, (char)0xd8,
                                   (char)0x95, (char)0x93}};

/* The table as a program sees it: no size word, then NULL. */
struct storage_table {
    CUresult (*put)(CUcontext, void *key, void *value, vgpu_local_destructor);
    CUresult (*delete)(CUcontext, void *key);
    CUresult (*get)(void **value, CUcontext, void *key);
    void *end;
};

static const struct storage_table *table;
static int destroyed;
static void *destroyed_key, *destroyed_value;

static void count_destruction(CUcontext context, void *key, void *value)
{
    void *found;

    assert_ptr_equal(context, FAKE_CONTEXT);
    destroyed++;
    destroyed_key = key;
    destroyed_value = value;
    /* A destructor may use the storage: the lock is not held, and its own entry is gone. */
    assert_int_equal(table->get(&found, context, key), CUDA_ERROR_INVALID_HANDLE);
}

static int fresh(void **state)
{
    const void *found;

    (void)state;
    assert_int_equal(cuGetExportTable(&found, &storage_id), CUDA_SUCCESS);
    table = found;
    assert_null(table->end);
    vgpu_local_storage_destroy(&fake_storage);
    memset(&fake_storage, 0, sizeof(fake_storage));
    fake_current = NULL;
    destroyed = 0;
    return 0;
}

static void a_value_is_found_under_its_key_and_replaced_by_put(void **state)
{
    int key, other, first, second;
    void *value = NULL;

    (void)state;
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &key), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(table->put(FAKE_CONTEXT, &key, &first, NULL), CUDA_SUCCESS);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &key), CUDA_SUCCESS);
    assert_ptr_equal(value, &first);
    assert_int_equal(table->put(FAKE_CONTEXT, &key, &second, count_destruction), CUDA_SUCCESS);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &key), CUDA_SUCCESS);
    assert_ptr_equal(value, &second);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &other), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(table->put(FAKE_CONTEXT, &key, NULL, NULL), CUDA_SUCCESS);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &key), CUDA_SUCCESS);
    assert_null(value);
}

static void null_and_minus_one_mean_the_current_context(void **state)
{
    int key, stored;
    void *value;

    (void)state;
    assert_int_equal(table->get(&value, NULL, &key), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(table->put(NULL, &key, &stored, NULL), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(table->get(&value, (CUcontext)0x77, &key), CUDA_ERROR_INVALID_CONTEXT);
    fake_current = FAKE_CONTEXT;
    assert_int_equal(table->put(NULL, &key, &stored, NULL), CUDA_SUCCESS);
    assert_int_equal(table->get(&value, (CUcontext)-1, &key), CUDA_SUCCESS);
    assert_ptr_equal(value, &stored);
}

static void a_deleted_value_is_gone_without_its_destructor(void **state)
{
    int key, stored;
    void *value;

    (void)state;
    table->put(FAKE_CONTEXT, &key, &stored, count_destruction);
    assert_int_equal(table->delete (FAKE_CONTEXT, &key), CUDA_SUCCESS);
    assert_int_equal(table->delete (FAKE_CONTEXT, &key), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &key), CUDA_ERROR_INVALID_HANDLE);
    vgpu_local_storage_drain(&fake_storage, FAKE_CONTEXT);
    assert_int_equal(destroyed, 0);
}

static void destructors_run_once_when_the_context_dies(void **state)
{
    enum { KEYS = 3 * VGPU_LOCAL_SLOTS };
    static char keys[KEYS];
    void *value;

    (void)state;
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(table->put(FAKE_CONTEXT, &keys[i], &keys[i], count_destruction),
                         CUDA_SUCCESS);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(table->get(&value, FAKE_CONTEXT, &keys[i]), CUDA_SUCCESS);
        assert_ptr_equal(value, &keys[i]);
    }
    vgpu_local_storage_drain(&fake_storage, FAKE_CONTEXT);
    assert_int_equal(destroyed, KEYS);
    assert_ptr_equal(destroyed_key, &keys[KEYS - 1]);
    assert_ptr_equal(destroyed_value, &keys[KEYS - 1]);
    vgpu_local_storage_drain(&fake_storage, FAKE_CONTEXT);
    assert_int_equal(destroyed, KEYS);
    /* The storage of a primary context is used again after a reset. */
    assert_int_equal(table->put(FAKE_CONTEXT, &keys[5], &keys[6], NULL), CUDA_SUCCESS);
    assert_int_equal(table->get(&value, FAKE_CONTEXT, &keys[5]), CUDA_SUCCESS);
    assert_ptr_equal(value, &keys[6]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_value_is_found_under_its_key_and_replaced_by_put, fresh),
        cmocka_unit_test_setup(null_and_minus_one_mean_the_current_context, fresh),
        cmocka_unit_test_setup(a_deleted_value_is_gone_without_its_destructor, fresh),
        cmocka_unit_test_setup(destructors_run_once_when_the_context_dies, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
