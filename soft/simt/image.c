/* SPDX-License-Identifier: MIT */
/* Programs as the driver sees them, and images: programs with addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "soft/ptx/parser.h"
#include "soft/simt/warp.h"

int vgpu_program_create(const char *text, size_t length, char *log, size_t log_size,
                        struct vgpu_program **out)
{
    return ptx_read(text, length, log, log_size, out);
}

void vgpu_program_destroy(struct vgpu_program *program)
{
    ptx_program_free(program);
}

uint32_t vgpu_program_kernel_count(const struct vgpu_program *program)
{
    return program->kernel_count;
}

/* What a compiler might have allotted: 32-bit registers, two for a wide one. */
static uint32_t estimate_registers(const struct vgpu_function *f)
{
    uint32_t n = (f->rows[VGPU_ROW_16] + 1) / 2 + f->rows[VGPU_ROW_32] + 2 * f->rows[VGPU_ROW_64];

    n = 8 + n / 2;
    return n > 255 ? 255 : n;
}

int vgpu_program_kernel_info(const struct vgpu_program *program, uint32_t index,
                             struct vgpu_kernel_info *info)
{
    const struct vgpu_function *f;

    if (index >= program->kernel_count)
        return -ENOENT;
    f = &program->functions[program->kernels[index]];
    *info = (struct vgpu_kernel_info){
        .name = f->name,
        .parameter_count = f->formal_count,
        .parameter_offset = f->parameter_offset,
        .parameter_size = f->parameter_size,
        .parameter_bytes = f->parameter_bytes,
        .static_shared_bytes = f->shared_bytes,
        .local_bytes = f->local_bytes,
        .constant_bytes = program->constant_bytes,
        .register_count = estimate_registers(f),
        .max_threads = f->max_threads,
        .ptx_version = program->ptx_version,
        .target = program->target,
    };
    return 0;
}

int vgpu_program_find_kernel(const struct vgpu_program *program, const char *name)
{
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        if (strcmp(program->functions[program->kernels[i]].name, name) == 0)
            return (int)i;
    }
    return -ENOENT;
}

/* ---- images ---- */

static int place_variables(struct vgpu_image *image)
{
    const struct vgpu_program *program = image->program;

    for (uint32_t i = 0; i < program->variable_count; i++) {
        const struct vgpu_variable *v = &program->variables[i];
        uint64_t align = v->align > 512 ? v->align : 0;
        size_t size = v->size > 0 ? v->size : 1;
        int error;

        if (v->space == VGPU_SPACE_SHARED)
            continue;
        /* Allocations are aligned to 512 bytes, and to pages from a page up. */
        if (align > 0 && size < 4096)
            size = 4096;
        if (align > 4096)
            return -ENOTSUP;
        error = vgpu_memory_allocate(image->memory, size, &image->addresses[i]);
        if (error != 0)
            return error;
        if (v->byte_count > 0)
            memcpy((void *)(uintptr_t)image->addresses[i], v->bytes,
                   v->byte_count < v->size ? v->byte_count : v->size);
    }
    return 0;
}

static void relocate(struct vgpu_image *image)
{
    const struct vgpu_program *program = image->program;

    for (uint32_t i = 0; i < program->relocation_count; i++) {
        const struct vgpu_relocation *r = &program->relocations[i];
        uint64_t value = r->is_function
                             ? VGPU_WINDOW_FUNCTION + (uint64_t)r->target * VGPU_FUNCTION_STRIDE
                             : image->addresses[r->target];

        value = (value + (uint64_t)r->addend) >> r->shift;
        memcpy((void *)(uintptr_t)(image->addresses[r->variable] + r->offset), &value, r->bytes);
    }
}

static void fill_row(uint8_t *row, uint32_t width, uint64_t value)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        switch (width) {
        case VGPU_ROW_16:
            ((uint16_t *)(void *)row)[l] = (uint16_t)value;
            break;
        case VGPU_ROW_32:
            ((uint32_t *)(void *)row)[l] = (uint32_t)value;
            break;
        default:
            ((uint64_t *)(void *)row)[l] = value;
            break;
        }
    }
}

static int fill_constants(struct vgpu_image *image)
{
    const struct vgpu_program *program = image->program;
    uint64_t bytes = vgpu_rows_base(program->constant_rows, 0, 0) +
                     (uint64_t)program->constant_rows[0] * vgpu_row_bytes(0);
    uint32_t next[VGPU_ROW_CLASSES] = {0};

    image->constant_rows = aligned_alloc(64, (bytes + 127) & ~UINT64_C(63));
    if (image->constant_rows == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < program->constant_count; i++) {
        const struct vgpu_constant *c = &program->constants[i];
        uint8_t *row = image->constant_rows + vgpu_rows_base(program->constant_rows, c->width, 0) +
                       (uint64_t)next[c->width]++ * vgpu_row_bytes(c->width);
        uint64_t value = c->value + (c->variable >= 0 ? image->addresses[c->variable] : 0);

        if (c->width == VGPU_ROW_PREDICATE)
            *(uint32_t *)(void *)row = value != 0 ? UINT32_MAX : 0;
        else
            fill_row(row, c->width, value);
    }
    return 0;
}

int vgpu_image_create(const struct vgpu_program *program, struct vgpu_memory *memory,
                      struct vgpu_image **out)
{
    struct vgpu_image *image = calloc(1, sizeof(*image));
    int error;

    if (image == NULL)
        return -ENOMEM;
    image->program = program;
    image->memory = memory;
    image->addresses = calloc(program->variable_count + 1u, sizeof(*image->addresses));
    error = image->addresses == NULL ? -ENOMEM : place_variables(image);
    if (error == 0)
        error = fill_constants(image);
    if (error != 0) {
        vgpu_image_destroy(image);
        return error;
    }
    relocate(image);
    *out = image;
    return 0;
}

void vgpu_image_destroy(struct vgpu_image *image)
{
    if (image == NULL)
        return;
    for (uint32_t i = 0; image->addresses != NULL && i < image->program->variable_count; i++) {
        if (image->addresses[i] != 0)
            vgpu_memory_free(image->memory, image->addresses[i]);
    }
    free(image->addresses);
    free(image->constant_rows);
    free(image);
}

int vgpu_image_global(const struct vgpu_image *image, const char *name, uint64_t *address,
                      size_t *size)
{
    for (uint32_t i = 0; i < image->program->variable_count; i++) {
        const struct vgpu_variable *v = &image->program->variables[i];

        if (v->space == VGPU_SPACE_SHARED || strcmp(v->name, name) != 0)
            continue;
        *address = image->addresses[i];
        *size = v->size;
        return 0;
    }
    return -ENOENT;
}

int vgpu_image_managed(const struct vgpu_image *image, uint32_t index, const char **name,
                       uint64_t *address, size_t *size)
{
    for (uint32_t i = 0; i < image->program->variable_count; i++) {
        const struct vgpu_variable *v = &image->program->variables[i];

        if (!v->managed || index-- > 0)
            continue;
        *name = v->name;
        *address = image->addresses[i];
        *size = v->size;
        return 0;
    }
    return -ENOENT;
}
