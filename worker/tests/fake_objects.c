/* SPDX-License-Identifier: MIT */
#include "worker/tests/fake_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_state fake;
struct fake_machine machine;

void fake_die(const char *what)
{
    fprintf(stderr, "fake driver: %s\n", what);
    abort();
}

struct fake_object *fake_make(enum fake_kind kind, struct fake_object *context)
{
    struct fake_object *object = calloc(1, sizeof(*object));
    object->kind = kind;
    object->context = context;
    object->last = &object->first;
    object->next = machine.objects;
    machine.objects = object;
    fake.objects++;
    return object;
}

struct fake_object *fake_need(const void *pointer, enum fake_kind kind)
{
    for (struct fake_object *object = machine.objects; object; object = object->next) {
        if (object == pointer && object->kind == kind)
            return object;
    }
    fake_die("a handle that it never gave out, or that is gone");
    return NULL;
}

void fake_forget(struct fake_object *object)
{
    struct fake_object **link = &machine.objects;
    while (*link != object)
        link = &(*link)->next;
    *link = object->next;
    for (struct fake_operation *next, *operation = object->first; operation; operation = next) {
        next = operation->next;
        free(operation);
    }
    if (object->kind == MEMORY)
        fake.memory -= object->bytes;
    if (object->pool)
        object->pool->used -= object->bytes;
    fake.objects--;
    free(object->memory);
    free(object);
}

void fake_forget_owned(const struct fake_object *owner)
{
    struct fake_object *object = machine.objects;
    while (object) {
        if (object->owner != owner) {
            object = object->next;
            continue;
        }
        fake_forget_owned(object);
        fake_forget(object);
        object = machine.objects; /* the list has changed */
    }
}

/* What a context that ends has not done yet. */
static void drop_legacy(void)
{
    for (struct fake_operation *next; machine.legacy.first; machine.legacy.first = next) {
        next = machine.legacy.first->next;
        free(machine.legacy.first);
    }
    machine.legacy.last = &machine.legacy.first;
}

void fake_forget_context(struct fake_object *context)
{
    drop_legacy();
    for (struct fake_object *next, *object = machine.objects; object; object = next) {
        next = object->next;
        if (object->context == context)
            fake_forget(object);
    }
    if (machine.current == context)
        machine.current = NULL;
    fake_forget(context);
}

void fake_forget_all(void)
{
    for (struct fake_object *object = machine.objects; object; object = object->next)
        object->pool = NULL;
    while (machine.objects)
        fake_forget(machine.objects);
    drop_legacy();
    machine = (struct fake_machine){0};
    machine.legacy.last = &machine.legacy.first;
}

struct fake_object *fake_need_stream(CUstream stream)
{
    if (stream == NULL || stream == CU_STREAM_LEGACY)
        return &machine.legacy;
    return fake_need(stream, STREAM);
}

CUresult fake_check(void)
{
    if (machine.current == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    return fake.sticky;
}

CUresult fake_fail_once(void)
{
    CUresult error = fake_check();
    if (error == CUDA_SUCCESS) {
        error = fake.fail_next;
        fake.fail_next = CUDA_SUCCESS;
    }
    return error;
}

/* The host memory behind a device address, or NULL if it is nobody's. */
struct fake_registration *fake_registration(CUdeviceptr address)
{
    for (size_t i = 0; i < FAKE_REGISTRATIONS; i++) {
        struct fake_registration *registration = &machine.registered[i];
        uint64_t start = (uint64_t)(uintptr_t)registration->memory;
        if (registration->memory && address - start < registration->bytes)
            return registration;
    }
    return NULL;
}

uint8_t *fake_memory(CUdeviceptr address, size_t bytes)
{
    const struct fake_registration *registration = fake_registration(address);
    uint64_t start;
    if (registration) {
        start = (uint64_t)(uintptr_t)registration->memory;
        if (bytes <= registration->bytes - (address - start))
            return registration->memory + (address - start);
    }
    for (struct fake_object *object = machine.objects; object; object = object->next) {
        if (object->kind != MEMORY && object->kind != MAPPING)
            continue;
        start = object->address;
        if (address >= start && address - start <= object->bytes &&
            bytes <= object->bytes - (address - start))
            return (object->kind == MAPPING ? object->owner : object)->memory + (address - start);
    }
    return NULL;
}

static bool run_one(struct fake_object *stream)
{
    struct fake_operation *operation = stream->first;
    if (operation == NULL ||
        (operation->kind == WAIT && !(operation->event->reached >> operation->count % 64 & 1)))
        return false;
    machine.clock += operation->kind == LAUNCH ? FAKE_STEP_NANOSECONDS : 1;
    if (operation->kind == RECORD) {
        operation->event->done = operation->count;
        operation->event->reached |= (uint64_t)1 << operation->count % 64;
        operation->event->time = machine.clock;
    } else if (operation->kind == WRITE) {
        __atomic_store_n((uint32_t *)operation->to, operation->value, __ATOMIC_RELEASE);
    } else if (operation->kind == COPY) {
        memmove(operation->to, operation->from, operation->bytes);
    } else if (operation->kind == FILL) {
        memset(operation->to, (int)operation->value, operation->bytes);
    } else if (operation->kind == LAUNCH && fake.prints) {
        machine.print_waits = true;
    } else if (operation->kind == HOST) {
        operation->function(operation->to);
    }
    stream->first = operation->next;
    if (stream->first == NULL)
        stream->last = &stream->first;
    free(operation);
    return true;
}

unsigned int fake_run(CUstream stream, unsigned int operations)
{
    unsigned int count = 0;
    while (count < operations && run_one(fake_need_stream(stream)))
        count++;
    return count;
}

CUresult fake_queue(CUstream stream, struct fake_operation operation)
{
    struct fake_object *target = fake_need_stream(stream);
    CUresult error = fake_check();
    if (error)
        return error;
    struct fake_operation *copy = malloc(sizeof(*copy));
    *copy = operation;
    copy->next = NULL;
    *target->last = copy;
    target->last = &copy->next;
    if (!fake.queued)
        fake_run(stream, UINT32_MAX);
    return CUDA_SUCCESS;
}

void fake_synchronise(void)
{
    fake.synchronised++;
    bool moved = true;
    while (moved) {
        moved = fake_run(NULL, UINT32_MAX) > 0;
        for (struct fake_object *object = machine.objects; object; object = object->next) {
            if (object->kind == STREAM)
                moved |= fake_run((CUstream)object, UINT32_MAX) > 0;
        }
    }
    if (machine.print_waits)
        fputs(fake.prints, stdout);
    machine.print_waits = false;
}

void fake_pass(uint64_t nanoseconds)
{
    machine.clock += nanoseconds;
}
