/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "soft/driver/code/program_cache.h"

#define HEADER ".version 8.0\n.target sm_80\n.address_size 64\n"

static const char first[] = HEADER ".visible .entry k() { ret; }\n";
static const char other[] = HEADER ".visible .entry q() { ret; }\n";
static const char wrong[] = HEADER ".visible .entry k() { add.s32 1; ret; }\n";

static struct vgpu_text text_of(const char *text)
{
    return (struct vgpu_text){text, strlen(text)};
}

static struct vgpu_program *take(const char *text)
{
    struct vgpu_text texts = text_of(text);
    struct vgpu_program *program = NULL;
    char log[128];

    assert_int_equal(vgpu_program_cache_take(&texts, 1, true, log, sizeof(log), &program), 0);
    assert_string_equal(log, "");
    return program;
}

static void the_same_texts_are_one_program(void **state)
{
    struct vgpu_text both[2] = {text_of(first), text_of(other)};
    struct vgpu_program *a = take(first), *b = take(other), *linked = NULL;
    const struct vgpu_unit *unit, *again;
    char *copy = strdup(first);

    (void)state;
    assert_ptr_not_equal(a, b);
    assert_int_equal(vgpu_program_prepare(a, 0, &unit, NULL), 0);
    assert_ptr_equal(take(copy), a);
    free(copy);
    assert_int_equal(vgpu_program_cache_take(both, 2, false, NULL, 0, &linked), 0);
    assert_ptr_not_equal(linked, a);
    assert_ptr_not_equal(linked, b);
    vgpu_program_cache_put(linked);
    vgpu_program_cache_put(b);
    vgpu_program_cache_put(a);
    vgpu_program_cache_put(a);
    /* Also after it was given back by all, and what was decoded is. */
    assert_ptr_equal(take(first), a);
    assert_int_equal(vgpu_program_prepare(a, 0, &again, NULL), 0);
    assert_ptr_equal(again, unit);
    vgpu_program_cache_put(a);
}

static void mistakes_are_found_by_who_asks(void **state)
{
    struct vgpu_text texts = text_of(wrong);
    struct vgpu_program *program = NULL, *again = NULL;
    char log[128];

    (void)state;
    assert_int_equal(vgpu_program_cache_take(&texts, 1, false, log, sizeof(log), &program), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vgpu_program_cache_take(&texts, 1, true, log, sizeof(log), &again),
                         -EINVAL);
        assert_non_null(strstr(log, "line 4"));
    }
    vgpu_program_cache_put(program);
    texts = text_of("nonsense");
    assert_int_equal(vgpu_program_cache_take(&texts, 1, false, log, sizeof(log), &program),
                     -EINVAL);
}

/* Programs of a third of what is kept each: the one that was used first goes first. */
static void what_is_kept_is_bounded(void **state)
{
    enum { COUNT = 8 };
    size_t size = VGPU_PROGRAM_CACHE_BYTES / 3;
    struct vgpu_program *kept[COUNT];
    char *text = malloc(size + 1);

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < COUNT; i++) {
        int used = snprintf(text, size, HEADER ".visible .entry k%d() { ret; }\n//", i);

        memset(text + used, ' ', size - (size_t)used);
        text[size] = '\0';
        kept[i] = take(text);
        vgpu_program_cache_put(kept[i]);
        /* At once again, it is the same. */
        assert_ptr_equal(take(text), kept[i]);
        vgpu_program_cache_put(kept[i]);
    }
    free(text);
    /* Those before the last ones are gone. */
    assert_true(mallinfo2().hblkhd <= VGPU_PROGRAM_CACHE_BYTES + ((size_t)4 << 20));
}

static void *take_and_put(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++)
        vgpu_program_cache_put(take(i % 2 == 0 ? first : other));
    return NULL;
}

static void threads_take_and_give_back(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, take_and_put, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_texts_are_one_program),
        cmocka_unit_test(mistakes_are_found_by_who_asks),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(threads_take_and_give_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
