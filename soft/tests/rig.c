/* SPDX-License-Identifier: MIT */
#include "soft/tests/harness.h"

#include <errno.h>

#include "soft/simt/ops.h"

void rig_load(struct rig *rig, const char *text)
{
    char log[256];

    memset(rig, 0, sizeof(*rig));
    if (getenv("LEVEL") != NULL)
        assert_int_equal(vgpu_ops_limit(getenv("LEVEL")), 0);
    note_text(text);
    if (vgpu_program_create(text, strlen(text), log, sizeof(log), &rig->program) != 0)
        fail_msg("%s", log);
    assert_int_equal(vgpu_memory_create((size_t)1 << 30, &rig->memory), 0);
    assert_int_equal(vgpu_image_create(rig->program, rig->memory, &rig->image), 0);
}

bool rig_try(struct rig *rig, const char *text)
{
    rig_load(rig, text);
    return true;
}

void rig_load_file(struct rig *rig, const char *name)
{
    char path[512], *text;
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", getenv("KERNELS"), name);
    file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    text = calloc(1, 4 << 20);
    size = fread(text, 1, (4 << 20) - 1, file);
    fclose(file);
    assert_true(size > 0);
    rig_load(rig, text);
    free(text);
}

void rig_drop(struct rig *rig)
{
    vgpu_image_destroy(rig->image);
    vgpu_memory_destroy(rig->memory);
    vgpu_program_destroy(rig->program);
}

void *rig_allocate(struct rig *rig, size_t size)
{
    uint64_t address = 0;

    assert_int_equal(vgpu_memory_allocate(rig->memory, size, &address), 0);
    return (void *)(uintptr_t)address;
}

static void print(void *context, const char *text, size_t length)
{
    struct rig *rig = context;

    if (length <= sizeof(rig->output) - rig->output_used) {
        memcpy(rig->output + rig->output_used, text, length);
        rig->output_used += length;
    }
}

int rig_launch(struct rig *rig, const char *kernel, struct geometry geometry,
               const void *parameters, struct vgpu_fault *fault)
{
    int index = vgpu_program_find_kernel(rig->program, kernel);
    struct vgpu_launch launch = {.image = rig->image,
                                 .kernel = (uint32_t)index,
                                 .grid = {geometry.grid, SIDE(rig->grid_y), SIDE(rig->grid_z)},
                                 .block = {geometry.block, SIDE(rig->block_y), SIDE(rig->block_z)},
                                 .cluster = {SIDE(rig->cluster), 1, 1},
                                 .explicit_cluster = rig->cluster > 0,
                                 .dynamic_shared_bytes = geometry.shared,
                                 .cooperative = rig->cooperative,
                                 .parameters = parameters,
                                 .print = print,
                                 .print_context = rig,
                                 .cancel = &rig->cancel};

    assert_true(index >= 0);
    return vgpu_simt_run(&launch, fault);
}

bool rig_runs(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters)
{
    struct vgpu_fault fault;

    if (rig_launch(rig, kernel, geometry, parameters, &fault) == 0)
        return true;
    printf("%s: %s\n", kernel, fault.text);
    rig_drop(rig);
    return false;
}

void rig_run(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters)
{
    struct vgpu_fault fault;

    if (rig_launch(rig, kernel, geometry, parameters, &fault) != 0)
        fail_msg("%s: %s", kernel, fault.text);
}
