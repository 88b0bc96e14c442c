/* SPDX-License-Identifier: MIT */
/** Inside the fake driver: its objects, its memory and the queues of its streams. */
#ifndef VGPU_WORKER_TESTS_FAKE_OBJECTS_H
#define VGPU_WORKER_TESTS_FAKE_OBJECTS_H

#include "worker/tests/fake_driver.h"

enum fake_kind {
    CONTEXT = 1,
    STREAM,
    EVENT,
    MODULE,
    FUNCTION,
    LIBRARY,
    KERNEL,
    MEMORY,
    LINK,
    POOL,
    RESERVATION,
    PHYSICAL,
    MAPPING, /* of its owner */
    ARRAY,
    MIPMAP,
    TEXTURE,
    SURFACE,
};

#define FAKE_REGISTRATIONS 64u

enum fake_operation_kind { RECORD, WRITE, COPY, FILL, WAIT, LAUNCH, HOST };

struct fake_object {
    struct fake_object *next;
    enum fake_kind kind;
    struct fake_object *context;
    struct fake_object *owner;     /* module of a function, library of a kernel */
    unsigned int flags;            /* of a stream */
    uint64_t recorded, done, time; /* of an event: how often; nanoseconds */
    uint64_t reached; /* of an event: its last 64 records, a bit each, in whichever order */
    struct fake_operation *first, **last; /* of a stream */
    size_t bytes;                         /* of memory, which follows */
    uint8_t *memory;
    CUdeviceptr address;      /* of memory, a reservation or a mapping */
    struct fake_object *pool; /* that memory came from */
    size_t used, reserved;    /* bytes of a pool; of an array, bytes of a row and rows */
    CUDA_ARRAY3D_DESCRIPTOR array;
};

struct fake_operation {
    struct fake_operation *next;
    enum fake_operation_kind kind;
    struct fake_object *event;
    uint64_t count; /* of the event that is waited for, or that is recorded */
    void *to;
    const void *from; /* NULL: fill */
    size_t bytes;
    uint32_t value;
    CUhostFn function; /* which gets `to` */
};

struct fake_machine {
    struct fake_object *objects, *current, *primary;
    struct fake_object *pool; /* the device's */
    uint64_t reserved;        /* bytes of addresses that were given out */
    unsigned int primary_references;
    struct fake_object legacy; /* one for all contexts: tests with two of them need no more */
    uint64_t clock;            /* nanoseconds of the GPU's time */
    struct fake_registration {
        uint8_t *memory; /* NULL: free */
        size_t bytes;
    } registered[FAKE_REGISTRATIONS];
    bool print_waits;
};

extern struct fake_machine machine;

/** Ends the test. */
void fake_die(const char *what);

struct fake_object *fake_make(enum fake_kind kind, struct fake_object *context);
/** The object behind a handle; ends the test if there is none. */
struct fake_object *fake_need(const void *pointer, enum fake_kind kind);
struct fake_object *fake_need_stream(CUstream stream);
void fake_forget(struct fake_object *object);
void fake_forget_owned(const struct fake_object *owner);
void fake_forget_context(struct fake_object *context);
void fake_forget_all(void);

/** What every call in a context says first. */
CUresult fake_check(void);
CUresult fake_fail_once(void);

/** The host memory behind a device address, or NULL if it is nobody's. */
uint8_t *fake_memory(CUdeviceptr address, size_t bytes);
/** The registered memory of the host that holds `address`, or NULL. */
struct fake_registration *fake_registration(CUdeviceptr address);

CUresult fake_queue(CUstream stream, struct fake_operation operation);
void fake_synchronise(void);

/** Adds what is in fake_code.c to a table. */
void fake_code_add(struct vgpu_driver *table);
/** And what is in fake_memory.c. */
void fake_memory_add(struct vgpu_driver *table);
/** And what is in fake_array.c. */
void fake_array_add(struct vgpu_driver *table);

#endif
