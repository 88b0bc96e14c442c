/* SPDX-License-Identifier: MIT */
/* PTX of any origin: read, linked, decoded and run, each kernel for a moment. Texts that are linked
 * are separated by a NUL. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "fuzz/fuzz.h"
#include "soft/simt/simt.h"

#define MOST_TEXTS       4
#define MOST_KERNELS     16
#define MOST_PARAMETERS  4096
#define RUN_MICROSECONDS 2000

static volatile int cancel;

static void stop(int number)
{
    (void)number;
    cancel = 1;
}

static void ignore_output(void *context, const char *text, size_t length)
{
    (void)context;
    (void)text;
    (void)length;
}

/* Parameters are words of one address of device memory and small numbers. */
static void run_kernel(struct vgpu_image *image, uint32_t index, uint64_t address)
{
    static uint64_t parameters[MOST_PARAMETERS / sizeof(uint64_t)];
    struct itimerval timer = {.it_value.tv_usec = RUN_MICROSECONDS};
    struct vgpu_launch launch = {.image = image,
                                 .kernel = index,
                                 .grid = {2, 1, 1},
                                 .block = {40, 1, 1},
                                 .dynamic_shared_bytes = 256,
                                 .parameters = parameters,
                                 .print = ignore_output,
                                 .cancel = &cancel};
    struct vgpu_fault fault = {0};
    int error;

    for (size_t n = 0; n < sizeof(parameters) / sizeof(parameters[0]); n++)
        parameters[n] = n % 2 == 0 ? address : n;
    cancel = 0;
    signal(SIGALRM, stop);
    setitimer(ITIMER_REAL, &timer, NULL);
    error = vgpu_simt_run(&launch, &fault);
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    if (error == -EFAULT && (fault.kind == VGPU_FAULT_NONE || fault.text[0] == '\0'))
        abort();
}

static void run_program(struct vgpu_program *program, struct vgpu_memory *memory)
{
    struct vgpu_image *image;
    uint64_t address;

    if (vgpu_image_create(program, memory, &image) != 0)
        return;
    if (vgpu_memory_allocate(memory, 4096, &address) != 0)
        abort();
    for (uint32_t n = 0; n < vgpu_program_kernel_count(program) && n < MOST_KERNELS; n++) {
        struct vgpu_kernel_info info;
        const struct vgpu_unit *unit;
        struct vgpu_kernel_needs needs;
        const char *message;

        if (vgpu_program_kernel_info(program, n, &info) != 0)
            abort();
        if (vgpu_program_prepare(program, n, &unit, &message) != 0)
            continue;
        vgpu_unit_needs(unit, &needs);
        /* The driver refuses launches that need more than the device has. */
        if (info.parameter_bytes <= MOST_PARAMETERS && needs.static_shared_bytes <= 49152 &&
            needs.local_bytes <= 65536)
            run_kernel(image, n, address);
    }
    vgpu_memory_free(memory, address);
    vgpu_image_destroy(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vgpu_memory *memory;
    struct vgpu_text texts[MOST_TEXTS];
    struct vgpu_program *program;
    uint32_t count = 0;
    char log[256];
    size_t free_before, free_after, total;

    if (memory == NULL && vgpu_memory_create((size_t)64 << 20, &memory) != 0)
        abort();
    vgpu_memory_info(memory, &free_before, &total);
    for (size_t start = 0; start <= size && count < MOST_TEXTS;) {
        const uint8_t *end = start < size ? memchr(data + start, 0, size - start) : NULL;
        size_t length = (end != NULL ? (size_t)(end - data) : size) - start;

        texts[count++] = (struct vgpu_text){(const char *)data + start, length};
        start += length + 1;
    }
    if (vgpu_program_link(texts, count, log, sizeof(log), &program) != 0)
        return 0;
    vgpu_program_check(program, log, sizeof(log));
    vgpu_program_undefined(program);
    run_program(program, memory);
    vgpu_program_destroy(program);
    vgpu_memory_info(memory, &free_after, &total);
    /* malloc() of device code is the program's to free. */
    if (free_after > free_before)
        abort();
    return 0;
}

/* ---- changes that keep most lines whole ---- */

struct line {
    size_t start, length;
};

static struct line pick_line(const uint8_t *data, size_t size, unsigned *seed)
{
    struct line line = {size == 0 ? 0 : (size_t)rand_r(seed) % size, 0};
    const uint8_t *end;

    while (line.start > 0 && data[line.start - 1] != '\n')
        line.start--;
    end = memchr(data + line.start, '\n', size - line.start);
    line.length = (end != NULL ? (size_t)(end - data) + 1 : size) - line.start;
    return line;
}

static size_t insert(uint8_t *data, size_t size, size_t room, size_t at, const uint8_t *what,
                     size_t length)
{
    if (length > room - size)
        return size;
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, what, length);
    return size + length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    struct line line, other;
    uint8_t copy[512];
    size_t length;

    if (size < 8 || size > room || seed % 8 < 3)
        return LLVMFuzzerMutate(data, size, room);
    line = pick_line(data, size, &seed);
    other = pick_line(data, size, &seed);
    length = line.length < sizeof(copy) ? line.length : sizeof(copy);
    memcpy(copy, data + line.start, length);
    switch (rand_r(&seed) % 4) {
    case 0: /* twice */
        return insert(data, size, room, other.start, copy, length);
    case 1: /* not at all */
        memmove(data + line.start, data + line.start + line.length,
                size - line.start - line.length);
        return size - line.length;
    case 2: /* elsewhere */
        if (other.start > line.start)
            return size;
        memmove(data + line.start, data + line.start + line.length,
                size - line.start - line.length);
        return insert(data, size - line.length, room, other.start, copy, length);
    default: /* changed within */
        length = LLVMFuzzerMutate(copy, length, sizeof(copy));
        memmove(data + line.start, data + line.start + line.length,
                size - line.start - line.length);
        return insert(data, size - line.length, room, line.start, copy, length);
    }
}
