/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest/process/objects.h"

struct thing {
    struct vgpu_object object;
    int payload;
};

static struct vgpu_objects objects;
static int ended;

static int set_up(void **state)
{
    (void)state;
    ended = 0;
    vgpu_objects_init(&objects);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vgpu_objects_destroy(&objects);
    return 0;
}

static void count_end(struct vgpu_object *object)
{
    (void)object;
    ended++;
}

static struct thing *make(enum vgpu_kind kind, struct vgpu_context *context)
{
    struct thing *thing = vgpu_object_take(&objects, sizeof(*thing), context);
    assert_non_null(thing);
    thing->object.end = count_end;
    vgpu_object_publish(&thing->object, kind);
    return thing;
}

static void handles_are_found_by_kind(void **state)
{
    (void)state;
    struct thing *stream = make(VGPU_KIND_STREAM, NULL), *event = make(VGPU_KIND_EVENT, NULL);
    assert_ptr_equal(vgpu_object_find(&objects, vgpu_object_handle(stream), VGPU_KIND_STREAM),
                     stream);
    assert_null(vgpu_object_find(&objects, vgpu_object_handle(stream), VGPU_KIND_EVENT));
    assert_ptr_equal(vgpu_object_find(&objects, vgpu_object_handle(event), VGPU_KIND_EVENT), event);
    assert_int_not_equal(stream->object.id, event->object.id);
    assert_true(stream->object.id >= VGPU_HANDLE_FIRST);
}

static void kernels_and_functions_can_be_launched(void **state)
{
    (void)state;
    void *kernel = vgpu_object_handle(make(VGPU_KIND_KERNEL, NULL));
    void *function = vgpu_object_handle(make(VGPU_KIND_FUNCTION, NULL));
    assert_non_null(vgpu_object_find(&objects, kernel, VGPU_KIND_LAUNCHABLE));
    assert_non_null(vgpu_object_find(&objects, function, VGPU_KIND_LAUNCHABLE));
    assert_null(vgpu_object_find(&objects, kernel, VGPU_KIND_FUNCTION));
}

static void handles_point_to_zeros(void **state)
{
    (void)state;
    static const char zeros[VGPU_SLOT_PUBLIC];
    struct thing *thing = make(VGPU_KIND_MODULE, NULL);
    thing->payload = -1;
    assert_memory_equal(vgpu_object_handle(thing), zeros, sizeof(zeros));
}

static void wild_pointers_are_no_handles(void **state)
{
    (void)state;
    int local = 0;
    assert_null(vgpu_object_find(&objects, &local, VGPU_KIND_STREAM)); /* before there is any */
    char *handle = vgpu_object_handle(make(VGPU_KIND_STREAM, NULL));
    assert_null(vgpu_object_find(&objects, NULL, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, &local, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, (void *)16, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, handle + 8, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, handle - VGPU_SLOT_BYTES, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, handle + VGPU_SLOT_BYTES, VGPU_KIND_STREAM));
    assert_null(vgpu_object_find(&objects, (void *)UINTPTR_MAX, VGPU_KIND_STREAM));
}

static void a_freed_handle_is_recognised(void **state)
{
    (void)state;
    struct thing *thing = make(VGPU_KIND_CONTEXT, NULL);
    void *handle = vgpu_object_handle(thing);
    assert_true(vgpu_object_put(&objects, &thing->object));
    assert_null(vgpu_object_find(&objects, handle, VGPU_KIND_CONTEXT));
    assert_ptr_equal(vgpu_object_recognise(&objects, handle, VGPU_KIND_CONTEXT), thing);
    assert_null(vgpu_object_recognise(&objects, handle, VGPU_KIND_STREAM));
    assert_false(vgpu_object_lives(&thing->object));
}

static void only_the_first_put_counts(void **state)
{
    (void)state;
    struct thing *thing = make(VGPU_KIND_EVENT, NULL);
    assert_true(vgpu_object_put(&objects, &thing->object));
    assert_false(vgpu_object_put(&objects, &thing->object));
    assert_int_equal(ended, 1);
    assert_int_equal(objects.free_count, 1);
}

static void an_unpublished_object_can_be_put(void **state)
{
    (void)state;
    struct thing *thing = vgpu_object_take(&objects, sizeof(*thing), NULL);
    assert_null(vgpu_object_find(&objects, vgpu_object_handle(thing), VGPU_KIND_NONE + 1));
    assert_true(vgpu_object_put(&objects, &thing->object));
    assert_int_equal(objects.free_count, 1);
}

static void slots_rest_before_they_are_used_again(void **state)
{
    (void)state;
    void *first = NULL;
    unsigned int made = 0;
    for (bool again = false; !again; made++) {
        struct thing *thing = make(VGPU_KIND_EVENT, NULL);
        again = first == vgpu_object_handle(thing);
        first = first ? first : vgpu_object_handle(thing);
        assert_int_equal(thing->payload, 0);
        thing->payload = 7;
        vgpu_object_put(&objects, &thing->object);
        assert_true(made <= 2 * VGPU_SLOTS_RESTING);
    }
    assert_true(made > VGPU_SLOTS_RESTING);
    assert_true(objects.used <= VGPU_SLOTS_RESTING + 2);
}

static void what_dies_with_a_context_dies_alone(void **state)
{
    (void)state;
    struct vgpu_context *context = (struct vgpu_context *)&ended, *other = (void *)&objects;
    struct thing *mine = make(VGPU_KIND_STREAM, context), *theirs = make(VGPU_KIND_STREAM, other);
    struct thing *nobodys = make(VGPU_KIND_LIBRARY, NULL);
    vgpu_objects_put_context(&objects, context);
    assert_false(vgpu_object_lives(&mine->object));
    assert_true(vgpu_object_lives(&theirs->object));
    assert_true(vgpu_object_lives(&nobodys->object));
    assert_int_equal(ended, 1);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    assert_null(vgpu_object_take(&objects, VGPU_SLOT_PRIVATE + 1, NULL));
    assert_non_null(vgpu_object_take(&objects, VGPU_SLOT_PRIVATE, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(handles_are_found_by_kind),
        TEST(kernels_and_functions_can_be_launched),
        TEST(handles_point_to_zeros),
        TEST(wild_pointers_are_no_handles),
        TEST(a_freed_handle_is_recognised),
        TEST(only_the_first_put_counts),
        TEST(an_unpublished_object_can_be_put),
        TEST(slots_rest_before_they_are_used_again),
        TEST(what_dies_with_a_context_dies_alone),
        TEST(what_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
