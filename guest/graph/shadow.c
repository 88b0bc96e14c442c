/* SPDX-License-Identifier: MIT */
#include "guest/graph/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "guest/graph/capture_list.h"
#include "guest/graph/graph.h"
#include "guest/memory/copy.h"
#include "guest/process/process.h"
#include "guest/stream/marker.h"
#include "guest/stream/stream.h"
#include "protocol/copy.h"
#include "protocol/send.h"

struct vgpu_shadow {
    uint32_t references; /* atomic */
    struct vgpu_shadow_shape shape;
    char *memory;
    size_t bytes;
};

/* A launch: its shadows, and the fence behind it. */
struct vgpu_shadow_run {
    struct vgpu_shadow_run *next;
    struct vgpu_shadow_set set;
    uint32_t fence;
};

#define RUN_DONE 1u /* what its fence reaches */

/* ---- shadows and sets ---- */

static void release(struct vgpu_shadow *shadow)
{
    struct vgpu_process *process = vgpu_process();
    /* acquire and release: the last one sees what the others did to it */
    if (__atomic_fetch_sub(&shadow->references, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    vgpu_arena_put(&process->arenas, process->channel, shadow->memory, shadow->bytes);
    free(shadow);
}

static bool make_room(struct vgpu_shadow_set *set, uint32_t more)
{
    uint32_t room = set->room ? set->room : 4;
    while (room < set->count + more)
        room *= 2;
    if (room == set->room)
        return true;
    struct vgpu_shadow **grown = reallocarray(set->list, room, sizeof(struct vgpu_shadow *));
    if (grown == NULL)
        return false;
    set->list = grown;
    set->room = room;
    return true;
}

CUresult vgpu_shadow_make(const struct vgpu_caller *caller, const struct vgpu_shadow_shape *shape,
                          struct vgpu_shadow_set *set, void **memory)
{
    size_t bytes;
    if (__builtin_mul_overflow(shape->width, shape->height, &bytes) ||
        __builtin_mul_overflow(bytes, shape->depth, &bytes) || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_shadow *shadow = make_room(set, 1) ? malloc(sizeof(*shadow)) : NULL;
    if (shadow == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_arena_take(&vgpu_process()->arenas, caller, bytes, memory);
    if (error) {
        free(shadow);
        return error;
    }
    *shadow =
        (struct vgpu_shadow){.references = 1, .shape = *shape, .memory = *memory, .bytes = bytes};
    set->list[set->count++] = shadow;
    return CUDA_SUCCESS;
}

bool vgpu_shadow_look_up(const struct vgpu_shadow_set *set, uint64_t address,
                         struct vgpu_shadow_shape *shape)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if ((uintptr_t)set->list[i]->memory == address) {
            *shape = set->list[i]->shape;
            return true;
        }
    }
    return false;
}

static bool holds(const struct vgpu_shadow_set *set, const struct vgpu_shadow *shadow)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->list[i] == shadow)
            return true;
    }
    return false;
}

bool vgpu_shadow_set_join(struct vgpu_shadow_set *to, const struct vgpu_shadow_set *from)
{
    if (from->count && !make_room(to, from->count))
        return false;
    for (uint32_t i = 0; i < from->count; i++) {
        if (holds(to, from->list[i]))
            continue;
        __atomic_fetch_add(&from->list[i]->references, 1, __ATOMIC_RELAXED);
        to->list[to->count++] = from->list[i];
    }
    return true;
}

void vgpu_shadow_set_clear(struct vgpu_shadow_set *set)
{
    while (set->count)
        release(set->list[--set->count]);
    free(set->list);
    *set = (struct vgpu_shadow_set){0};
}

/* ---- copying by the CPU ---- */

static void copy_in(const struct vgpu_shadow *shadow)
{
    const struct vgpu_shadow_shape *shape = &shadow->shape;
    char *to = shadow->memory;
    for (size_t plane = 0; plane < shape->depth; plane++) {
        for (size_t row = 0; row < shape->height; row++, to += shape->width)
            memcpy(to, shape->host + plane * shape->plane + row * shape->pitch, shape->width);
    }
}

static void copy_out(const struct vgpu_shadow *shadow)
{
    const struct vgpu_shadow_shape *shape = &shadow->shape;
    const char *from = shadow->memory;
    for (size_t plane = 0; plane < shape->depth; plane++) {
        for (size_t row = 0; row < shape->height; row++, from += shape->width)
            memcpy(shape->host + plane * shape->plane + row * shape->pitch, from, shape->width);
    }
}

static bool is_same(const struct vgpu_shadow *shadow)
{
    const struct vgpu_shadow_shape *shape = &shadow->shape;
    const char *to = shadow->memory;
    for (size_t plane = 0; plane < shape->depth; plane++) {
        for (size_t row = 0; row < shape->height; row++, to += shape->width) {
            if (memcmp(to, shape->host + plane * shape->plane + row * shape->pitch, shape->width) !=
                0)
                return false;
        }
    }
    return true;
}

/* ---- launches ---- */

void vgpu_shadows_collect(void)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_shadow_runs *runs = &process->shadow_runs;
    struct vgpu_shadow_run **link = &runs->first, *run;
    /* Relaxed: who has waited for a launch of another thread has synchronised with that thread. */
    if (__atomic_load_n(&runs->count, __ATOMIC_RELAXED) == 0)
        return;
    pthread_mutex_lock(&runs->lock);
    while ((run = *link)) { /* in the order of launches: the last one's bytes stay */
        if (!vgpu_fence_reached(process->channel, run->fence, RUN_DONE)) {
            link = &run->next;
            continue;
        }
        for (uint32_t i = 0; i < run->set.count; i++) {
            if (run->set.list[i]->shape.out)
                copy_out(run->set.list[i]);
        }
        *link = run->next;
        __atomic_fetch_sub(&runs->count, 1, __ATOMIC_RELAXED);
        vgpu_fence_put(process->channel, run->fence);
        vgpu_shadow_set_clear(&run->set);
        free(run);
    }
    pthread_mutex_unlock(&runs->lock);
}

/* The fence of a launch under way that uses a shadow. */
static bool find_user(const struct vgpu_shadow *shadow, uint32_t *fence)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    bool found = false;
    pthread_mutex_lock(&runs->lock);
    for (const struct vgpu_shadow_run *run = runs->first; run; run = run->next) {
        if (holds(&run->set, shadow)) {
            *fence = run->fence;
            found = true;
        }
    }
    pthread_mutex_unlock(&runs->lock);
    return found;
}

/* A launch under way must not see the bytes of the next; programs seldom change them meanwhile. */
CUresult vgpu_shadows_fill(const struct vgpu_caller *caller, const struct vgpu_shadow_set *set)
{
    CUresult error = CUDA_SUCCESS;
    uint32_t fence;
    vgpu_shadows_collect();
    for (uint32_t i = 0; i < set->count && error == CUDA_SUCCESS; i++) {
        const struct vgpu_shadow *shadow = set->list[i];
        if (shadow->shape.out || is_same(shadow))
            continue;
        while (error == CUDA_SUCCESS && find_user(shadow, &fence))
            error = vgpu_caller_wait(caller, fence, RUN_DONE);
        copy_in(shadow);
    }
    return error;
}

CUresult vgpu_shadows_launched(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                               const struct vgpu_shadow_set *set)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    if (set->count == 0)
        return CUDA_SUCCESS;
    struct vgpu_shadow_run *run = calloc(1, sizeof(*run));
    CUresult error =
        run && vgpu_shadow_set_join(&run->set, set) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS)
        error = vgpu_fence_take(caller->channel, &run->fence);
    if (error == CUDA_SUCCESS) {
        error = vgpu_send_vgpuFence(caller->channel, caller->context, stream->object.id, run->fence,
                                    RUN_DONE);
        if (error)
            vgpu_fence_put(caller->channel, run->fence);
    }
    if (error) {
        if (run)
            vgpu_shadow_set_clear(&run->set);
        free(run);
        return error;
    }
    pthread_mutex_lock(&runs->lock);
    struct vgpu_shadow_run **link = &runs->first;
    while (*link)
        link = &(*link)->next;
    *link = run;
    __atomic_fetch_add(&runs->count, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&runs->lock);
    return CUDA_SUCCESS;
}

/* ---- captures ---- */

static CUresult record(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                       const struct vgpu_rows *rows, bool upload, const void *memory)
{
    struct vgpu_box_side host = {.kind = VGPU_SIDE_SHARED,
                                 .address = (uintptr_t)memory,
                                 .pitch = rows->width,
                                 .height = rows->height};
    struct vgpu_box_side device = {
        .kind = VGPU_SIDE_DEVICE,
        .address = rows->device,
        .pitch = rows->device_pitch,
        .height = rows->depth > 1 ? rows->device_plane / rows->device_pitch : rows->height};
    if (rows->array)
        device = *rows->array;
    const struct vgpu_box box = {.width = rows->width,
                                 .height = rows->height,
                                 .depth = rows->depth,
                                 .source = upload ? host : device,
                                 .destination = upload ? device : host};
    return vgpu_send_vgpuCopyBox(caller->channel, caller->context, stream->object.id, &box,
                                 sizeof(box));
}

CUresult vgpu_shadow_capture(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                             const struct vgpu_rows *rows, bool upload)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    const struct vgpu_shadow_shape shape = {.host = rows->host,
                                            .width = rows->width,
                                            .height = rows->height,
                                            .depth = rows->depth,
                                            .pitch = rows->host_pitch,
                                            .plane = rows->host_plane,
                                            .out = !upload};
    CUresult error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; /* it has just ended */
    void *memory;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        error = vgpu_shadow_make(caller, &shape, &capture->shadows, &memory);
    if (error == CUDA_SUCCESS)
        error = record(caller, stream, rows, upload, memory);
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult vgpu_shadow_capture_here(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                                  const struct vgpu_shadow_shape *to,
                                  const struct vgpu_shadow_shape *from)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; /* it has just ended */
    void *source, *target;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        error = vgpu_shadow_make(caller, from, &capture->shadows, &source);
    if (error == CUDA_SUCCESS)
        error = vgpu_shadow_make(caller, to, &capture->shadows, &target);
    if (error == CUDA_SUCCESS)
        error = vgpu_send_vgpuCopyFromHost(
            caller->channel, caller->context, (uintptr_t)target, (uintptr_t)source,
            from->width * from->height * from->depth, stream->object.id);
    pthread_mutex_unlock(&captures->lock);
    return error;
}
