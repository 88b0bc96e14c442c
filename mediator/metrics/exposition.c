/* SPDX-License-Identifier: MIT */
#include "mediator/metrics/exposition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/metrics/families.h"
#include "mediator/session.h"

#define FRESH_NANOSECONDS 1000000000u

static const struct vgpu_family *const vgpu_tables[] = {vgpu_host_families, vgpu_health_families,
                                                        vgpu_vm_families, NULL};

struct vgpu_exposition {
    uint32_t users;
    uint64_t taken; /* vgpu_loop_now() */
    struct vgpu_metrics *metrics;
    struct vgpu_text text;
    /* What is written next: of a table a family, of which a VM. */
    uint32_t table;
    uint32_t family;
    uint32_t vm;
};

static void vgpu_metrics_print_uuid(char *out, size_t size, const uint8_t uuid[16])
{
    size_t at = (size_t)snprintf(out, size, "GPU-");

    for (int i = 0; i < 16 && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static struct vgpu_metrics *vgpu_metrics_take(struct vgpu_mediator *mediator)
{
    struct vgpu_metrics *metrics;
    uint32_t count = 0;

    for (const struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next)
        count++;
    metrics = calloc(1, sizeof(*metrics) + count * sizeof(metrics->vm[0]));
    if (!metrics)
        return NULL;
    metrics->mediator = mediator;
    vgpu_metrics_print_uuid(metrics->gpu_uuid, sizeof(metrics->gpu_uuid),
                            mediator->driver.probe.uuid);
    vgpu_health_look(mediator->health, &metrics->health);
    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next) {
        struct vgpu_metrics_vm *entry = &metrics->vm[metrics->count++];

        entry->vm = vm;
        entry->gpu_uuid = metrics->gpu_uuid;
        vgpu_session_count(mediator, vm, &entry->counters);
        vgpu_pool_usage_add(mediator, vm, &entry->counters);
    }
    memcpy(metrics->pools, mediator->pool_usage, sizeof(metrics->pools));
    return metrics;
}

static struct vgpu_exposition *vgpu_exposition_create(struct vgpu_mediator *mediator)
{
    struct vgpu_exposition *exposition = calloc(1, sizeof(*exposition));

    if (!exposition)
        return NULL;
    exposition->users = 1;
    exposition->taken = vgpu_loop_now();
    exposition->metrics = vgpu_metrics_take(mediator);
    if (!exposition->metrics) {
        free(exposition);
        return NULL;
    }
    return exposition;
}

struct vgpu_exposition *vgpu_exposition_take(struct vgpu_mediator *mediator)
{
    struct vgpu_exposition *latest = mediator->exposition;

    if (!latest || vgpu_loop_now() - latest->taken >= FRESH_NANOSECONDS) {
        vgpu_exposition_forget(mediator);
        latest = mediator->exposition = vgpu_exposition_create(mediator);
    }
    if (latest)
        latest->users++;
    return latest;
}

void vgpu_exposition_put(struct vgpu_exposition *exposition)
{
    if (!exposition || --exposition->users)
        return;
    free(exposition->metrics);
    free(exposition->text.bytes);
    free(exposition);
}

void vgpu_exposition_forget(struct vgpu_mediator *mediator)
{
    vgpu_exposition_put(mediator->exposition);
    mediator->exposition = NULL;
}

/** Writes the next family, or what it has of the next VM. False: there is no more. */
static bool vgpu_exposition_write(struct vgpu_exposition *exposition)
{
    const struct vgpu_metrics *metrics = exposition->metrics;

    if (!vgpu_tables[exposition->table])
        return false;
    const struct vgpu_family *family = &vgpu_tables[exposition->table][exposition->family];
    if (!family->name) {
        exposition->table++;
        exposition->family = 0;
        return true;
    }
    if (exposition->vm == 0)
        vgpu_text_family(&exposition->text, family->name, family->type, family->help);
    if (family->write)
        family->write(&exposition->text, family->name, metrics);
    else if (exposition->vm < metrics->count)
        family->write_vm(&exposition->text, family->name, &metrics->vm[exposition->vm++]);
    if (family->write || exposition->vm == metrics->count) {
        exposition->family++;
        exposition->vm = 0;
    }
    return true;
}

ssize_t vgpu_exposition_read(struct vgpu_exposition *exposition, size_t from, char *to, size_t size)
{
    const struct vgpu_text *text = &exposition->text;
    bool more = true;

    while (more && !text->failed && text->length - from < size)
        more = vgpu_exposition_write(exposition);
    if (text->failed)
        return -ENOMEM;
    size = size < text->length - from ? size : text->length - from;
    if (size)
        memcpy(to, text->bytes + from, size);
    return (ssize_t)size;
}
