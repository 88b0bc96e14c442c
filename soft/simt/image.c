/* SPDX-License-Identifier: MIT */
/* Programs as the driver sees them, and images: programs with addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "soft/ptx/program.h"
#include "soft/simt/shape.h"
#include "soft/simt/warp.h"

uint32_t vgpu_program_kernel_count(const struct vgpu_program *program)
{
    return program->kernel_count;
}

/* What a compiler might have allotted: 32-bit registers, two for a wide one. */
static uint32_t estimate_registers(const struct vgpu_function *f)
{
    uint32_t n = (f->rows[VGPU_ROW_16] + 1) / 2 + f->rows[VGPU_ROW_32] + 2 * f->rows[VGPU_ROW_64] +
                 4 * f->rows[VGPU_ROW_128];

    n = 8 + n / 2;
    return n > 255 ? 255 : n;
}

int vgpu_program_kernel_info(const struct vgpu_program *program, uint32_t index,
                             struct vgpu_kernel_info *info)
{
    const struct vgpu_function *f;

    if (index >= program->kernel_count)
        return -ENOENT;
    f = &program->module->functions[program->kernels[index].function];
    *info = (struct vgpu_kernel_info){
        .name = f->name,
        .parameter_count = f->formal_count,
        .parameter_offset = f->parameter_offset,
        .parameter_size = f->parameter_size,
        .parameter_bytes = f->parameter_bytes,
        .constant_bytes = program->constant_bytes,
        .max_threads = f->max_threads,
        .cluster = {f->cluster[0], f->cluster[1], f->cluster[2]},
        .max_cluster = f->max_cluster,
        .explicit_cluster = f->explicit_cluster,
        .ptx_version = program->ptx_version,
        .target = program->target,
    };
    return 0;
}

void vgpu_unit_needs(const struct vgpu_unit *unit, struct vgpu_kernel_needs *needs)
{
    const struct vgpu_function *f = &unit->functions[unit->kernel];

    *needs = (struct vgpu_kernel_needs){.static_shared_bytes = f->shared_bytes,
                                        .local_bytes = f->local_bytes,
                                        .register_count = estimate_registers(f)};
}

int vgpu_program_find_kernel(const struct vgpu_program *program, const char *name)
{
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        if (strcmp(program->module->functions[program->kernels[i].function].name, name) == 0)
            return (int)i;
    }
    return -ENOENT;
}

/* ---- images ---- */

/* Gives addresses to the variables from number `first` on, and their initial values. */
static int place_variables(struct vgpu_memory *memory, const struct vgpu_unit *unit, uint32_t first,
                           uint64_t *addresses)
{
    for (uint32_t i = first; i < unit->variable_count; i++) {
        const struct vgpu_variable *v = &unit->variables[i];
        uint64_t align = v->align > 512 ? v->align : 0;
        size_t size = v->size > 0 ? v->size : 1;
        int error;

        if (v->space == VGPU_SPACE_SHARED || v->external)
            continue;
        /* Allocations are aligned to 512 bytes, and to pages from a page up. */
        if (align > 0 && size < 4096)
            size = 4096;
        if (align > 4096)
            return -ENOTSUP;
        error = vgpu_memory_allocate(memory, size, &addresses[i]);
        if (error != 0)
            return error;
        if (v->byte_count > 0)
            memcpy((void *)(uintptr_t)addresses[i], v->bytes,
                   v->byte_count < v->size ? v->byte_count : v->size);
    }
    return 0;
}

bool vgpu_is_constant(const struct vgpu_block *block, uint64_t address)
{
    for (uint32_t i = 0; i < block->unit->variable_count; i++) {
        const struct vgpu_variable *v = &block->unit->variables[i];

        if (v->space == VGPU_SPACE_CONST && block->placed->addresses[i] != 0 &&
            address - block->placed->addresses[i] < v->size)
            return true;
    }
    return false;
}

static void relocate(const struct vgpu_unit *unit, const uint64_t *addresses)
{
    for (uint32_t i = 0; i < unit->relocation_count; i++) {
        const struct vgpu_relocation *r = &unit->relocations[i];
        uint64_t value = r->is_function
                             ? VGPU_WINDOW_FUNCTION + (uint64_t)r->target * VGPU_FUNCTION_STRIDE
                             : addresses[r->target];

        value = (value + (uint64_t)r->addend) >> r->shift;
        memcpy((void *)(uintptr_t)(addresses[r->variable] + r->offset), &value, r->bytes);
    }
}

static void free_variables(struct vgpu_memory *memory, const struct vgpu_unit *unit, uint32_t first,
                           const uint64_t *addresses)
{
    for (uint32_t i = first; addresses != NULL && i < unit->variable_count; i++) {
        if (addresses[i] != 0)
            vgpu_memory_free(memory, addresses[i]);
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

static void fill_shape(uint8_t *row, uint32_t width, uint64_t value)
{
    struct vgpu_shape *shape = vgpu_shape_of(row);

    *shape = (struct vgpu_shape){.state = VGPU_SHAPE_LINE | VGPU_SHAPE_SAME |
                                          (width == VGPU_ROW_64 ? VGPU_SHAPE_64 : 0)};
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        shape->line.base[k] = value;
}

static uint8_t *constant_rows(const struct vgpu_unit *unit, const uint64_t *addresses)
{
    uint32_t next[VGPU_ROW_CLASSES] = {0};
    uint8_t *rows = aligned_alloc(64, vgpu_rows_end(unit->constant_rows, 0) + 64);

    if (rows == NULL)
        return NULL;
    for (uint32_t i = 0; i < unit->constant_count; i++) {
        const struct vgpu_constant *c = &unit->constants[i];
        uint8_t *row = rows + vgpu_row_offset(unit->constant_rows, c->width, next[c->width]++, 0);
        uint64_t value = c->value + (c->variable >= 0 ? addresses[c->variable] : 0);

        if (c->width == VGPU_ROW_PREDICATE)
            *(uint32_t *)(void *)row = value != 0 ? UINT32_MAX : 0;
        else
            fill_row(row, c->width, value);
        if (c->width == VGPU_ROW_32 || c->width == VGPU_ROW_64)
            fill_shape(row, c->width, value);
    }
    return rows;
}

int vgpu_image_create(struct vgpu_program *program, struct vgpu_memory *memory,
                      struct vgpu_image **out)
{
    const struct vgpu_unit *module = program->module;
    struct vgpu_image *image = calloc(1, sizeof(*image));
    int error;

    if (image == NULL)
        return -ENOMEM;
    image->program = program;
    image->memory = memory;
    pthread_mutex_init(&image->lock, NULL);
    image->addresses = calloc(module->variable_count + 1u, sizeof(*image->addresses));
    image->kernels = calloc(program->kernel_count + 1u, sizeof(*image->kernels));
    error = image->addresses == NULL || image->kernels == NULL
                ? -ENOMEM
                : place_variables(memory, module, 0, image->addresses);
    if (error != 0) {
        vgpu_image_destroy(image);
        return error;
    }
    relocate(module, image->addresses);
    *out = image;
    return 0;
}

static void destroy_kernel(struct vgpu_memory *memory, struct vgpu_placed_kernel *kernel)
{
    if (kernel == NULL)
        return;
    free_variables(memory, kernel->unit, kernel->unit->module_variables, kernel->addresses);
    free(kernel->addresses);
    free(kernel->constant_rows);
    free(kernel);
}

static int place_kernel(struct vgpu_image *image, const struct vgpu_unit *unit,
                        struct vgpu_placed_kernel **out)
{
    struct vgpu_placed_kernel *kernel = calloc(1, sizeof(*kernel));
    int error = -ENOMEM;

    if (kernel == NULL)
        return -ENOMEM;
    kernel->unit = unit;
    kernel->addresses = calloc(unit->variable_count + 1u, sizeof(*kernel->addresses));
    if (kernel->addresses != NULL) {
        memcpy(kernel->addresses, image->addresses,
               unit->module_variables * sizeof(*kernel->addresses));
        error = place_variables(image->memory, unit, unit->module_variables, kernel->addresses);
    }
    if (error == 0) {
        kernel->constant_rows = constant_rows(unit, kernel->addresses);
        error = kernel->constant_rows == NULL ? -ENOMEM : 0;
    }
    if (error != 0) {
        destroy_kernel(image->memory, kernel);
        return error;
    }
    relocate(unit, kernel->addresses);
    *out = kernel;
    return 0;
}

int vgpu_image_kernel(struct vgpu_image *image, uint32_t index,
                      const struct vgpu_placed_kernel **out)
{
    const struct vgpu_unit *unit;
    int error = vgpu_program_prepare(image->program, index, &unit, NULL);

    if (error != 0)
        return error;
    pthread_mutex_lock(&image->lock);
    if (image->kernels[index] == NULL)
        error = place_kernel(image, unit, &image->kernels[index]);
    *out = image->kernels[index];
    pthread_mutex_unlock(&image->lock);
    return error;
}

void vgpu_image_destroy(struct vgpu_image *image)
{
    if (image == NULL)
        return;
    for (uint32_t i = 0; image->kernels != NULL && i < image->program->kernel_count; i++)
        destroy_kernel(image->memory, image->kernels[i]);
    free_variables(image->memory, image->program->module, 0, image->addresses);
    pthread_mutex_destroy(&image->lock);
    free(image->addresses);
    free(image->kernels);
    free(image);
}

int vgpu_image_global(const struct vgpu_image *image, const char *name, uint64_t *address,
                      size_t *size)
{
    for (uint32_t i = 0; i < image->program->module->variable_count; i++) {
        const struct vgpu_variable *v = &image->program->module->variables[i];

        if (image->addresses[i] == 0 || strcmp(v->name, name) != 0)
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
    for (uint32_t i = 0; i < image->program->module->variable_count; i++) {
        const struct vgpu_variable *v = &image->program->module->variables[i];

        if (!v->managed || image->addresses[i] == 0 || index-- > 0)
            continue;
        *name = v->name;
        *address = image->addresses[i];
        *size = v->size;
        return 0;
    }
    return -ENOENT;
}

int vgpu_image_opaque(const struct vgpu_image *image, const char *name, bool surface,
                      uint64_t *address)
{
    for (uint32_t i = 0; i < image->program->module->variable_count; i++) {
        const struct vgpu_variable *v = &image->program->module->variables[i];

        if (v->opaque != (surface ? VGPU_OPAQUE_SURFACE : VGPU_OPAQUE_TEXTURE) ||
            image->addresses[i] == 0 || strcmp(v->name, name) != 0)
            continue;
        *address = image->addresses[i];
        return 0;
    }
    return -ENOENT;
}
