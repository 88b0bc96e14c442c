/* SPDX-License-Identifier: MIT */
/*
 * Bytes between this process and the device. Small uploads travel inside their record. Larger ones
 * go through chunks of staging memory, several in flight, so that copying by the CPU and by the GPU
 * overlap.
 */
#include <string.h>

#include "guest/channel/trace.h"
#include "guest/graph/capture.h"
#include "guest/graph/shadow.h"
#include "guest/memory/copy.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "protocol/copy.h"
#include "protocol/send.h"

#define INLINE_BYTES 16384u
#define IN_FLIGHT    4u /* chunks of a download */

/* A part that fits into a chunk. */
struct piece {
    CUdeviceptr device;
    size_t column, row; /* behind the first byte of the rows */
    char *host;
    size_t width, height;
};

/* A walk over rows in pieces. */
struct walk {
    struct vgpu_rows rows;
    size_t row, column;
};

static void begin(struct walk *walk, const struct vgpu_rows *rows)
{
    *walk = (struct walk){.rows = *rows};
    if (rows->array == NULL && rows->device_pitch == rows->width &&
        rows->host_pitch == rows->width) {
        walk->rows.width *= rows->height; /* the caller knows that this does not overflow */
        walk->rows.height = 1;
    }
}

static bool next_piece(struct walk *walk, struct piece *piece)
{
    const struct vgpu_rows *rows = &walk->rows;
    if (rows->width == 0 || walk->row == rows->height)
        return false;
    piece->device = rows->device + walk->row * rows->device_pitch + walk->column;
    piece->column = walk->column;
    piece->row = walk->row;
    piece->host = rows->host + walk->row * rows->host_pitch + walk->column;
    if (rows->width > VGPU_STAGING_CHUNK_BYTES) {
        size_t left = rows->width - walk->column;
        piece->width = left < VGPU_STAGING_CHUNK_BYTES ? left : VGPU_STAGING_CHUNK_BYTES;
        piece->height = 1;
        walk->column += piece->width;
        if (walk->column == rows->width) {
            walk->column = 0;
            walk->row++;
        }
        return true;
    }
    size_t fit = VGPU_STAGING_CHUNK_BYTES / rows->width, left = rows->height - walk->row;
    piece->width = rows->width;
    piece->height = left < fit ? left : fit;
    walk->row += piece->height;
    return true;
}

CUresult vgpu_copy_take_chunk(struct vgpu_channel *channel, struct vgpu_staging *staging)
{
    for (;;) {
        CUresult error = vgpu_staging_take(channel, staging);
        if (error == CUDA_SUCCESS)
            return CUDA_SUCCESS;
        CUresult fatal = vgpu_process_collect(vgpu_process());
        if (fatal || vgpu_channel_alive(channel))
            return fatal ? fatal : error;
    }
}

static CUresult post_chunk_fence(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                                 const struct vgpu_staging *staging)
{
    return vgpu_send_vgpuFence(caller->channel, caller->context, stream->object.id, staging->fence,
                               staging->fence_value);
}

/* Between a chunk of staging memory and a place in an array. */
static CUresult send_box(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                         const struct walk *walk, const struct piece *piece,
                         const struct vgpu_staging *staging, bool to_array)
{
    struct vgpu_box box = {.width = piece->width, .height = piece->height, .depth = 1};
    struct vgpu_box_side array = *walk->rows.array;
    struct vgpu_box_side packed = {.kind = VGPU_SIDE_STAGING,
                                   .address = staging->offset,
                                   .pitch = piece->width,
                                   .height = piece->height};
    array.x += piece->column;
    array.y += piece->row;
    array.z += walk->rows.plane;
    box.source = to_array ? packed : array;
    box.destination = to_array ? array : packed;
    return vgpu_send_vgpuCopyBox(caller->channel, caller->context, stream->object.id, &box,
                                 sizeof(box));
}

/* ---- to the device ---- */

static CUresult send_inline(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            const struct piece *piece)
{
    CUresult error = vgpu_send_vgpuCopyInline(caller->channel, caller->context, piece->device,
                                              stream->object.id, piece->host, piece->width);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

static void gather(char *to, const struct piece *piece, size_t pitch)
{
    for (size_t row = 0; row < piece->height; row++)
        memcpy(to + row * piece->width, piece->host + row * pitch, piece->width);
}

static CUresult send_piece(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                           const struct walk *walk, const struct piece *piece)
{
    struct vgpu_staging staging;
    CUresult error = vgpu_copy_take_chunk(caller->channel, &staging);
    if (error)
        return error;
    gather(staging.memory, piece, walk->rows.host_pitch);
    vgpu_trace_carried(caller->channel,
                       walk->rows.array ? VGPU_CALL_vgpuCopyBox : VGPU_CALL_vgpuCopyToDevice,
                       (uint64_t)piece->width * piece->height);
    error = walk->rows.array
                ? send_box(caller, stream, walk, piece, &staging, true)
                : vgpu_send_vgpuCopyToDevice(caller->channel, caller->context, piece->device,
                                             walk->rows.device_pitch, piece->width, piece->height,
                                             staging.offset, stream->object.id);
    if (error == CUDA_SUCCESS)
        error = post_chunk_fence(caller, stream, &staging);
    vgpu_staging_put(caller->channel, &staging, error == CUDA_SUCCESS);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

CUresult vgpu_copy_upload(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                          const struct vgpu_rows *rows)
{
    struct walk walk;
    struct piece piece;
    CUresult error = CUDA_SUCCESS;
    if (vgpu_capture_of(stream))
        return vgpu_shadow_capture(caller, stream, rows, true);
    begin(&walk, rows);
    while (error == CUDA_SUCCESS && next_piece(&walk, &piece)) {
        if (rows->array == NULL && piece.height == 1 && piece.width <= INLINE_BYTES)
            error = send_inline(caller, stream, &piece);
        else
            error = send_piece(caller, stream, &walk, &piece);
    }
    return error;
}

/* ---- from the device ---- */

struct download {
    const struct vgpu_caller *caller;
    struct vgpu_stream *stream;
    struct walk walk;
    struct flight {
        struct piece piece;
        struct vgpu_staging staging;
    } flights[IN_FLIGHT]; /* a ring */
    unsigned int first, count, most;
};

static CUresult ask_for(struct download *download, const struct piece *piece)
{
    const struct vgpu_caller *caller = download->caller;
    struct flight *flight = &download->flights[(download->first + download->count) % IN_FLIGHT];
    CUresult error = vgpu_copy_take_chunk(caller->channel, &flight->staging);
    if (error)
        return error;
    flight->piece = *piece;
    vgpu_trace_carried(caller->channel,
                       download->walk.rows.array ? VGPU_CALL_vgpuCopyBox
                                                 : VGPU_CALL_vgpuCopyFromDevice,
                       (uint64_t)piece->width * piece->height);
    error =
        download->walk.rows.array
            ? send_box(caller, download->stream, &download->walk, piece, &flight->staging, false)
            : vgpu_send_vgpuCopyFromDevice(
                  caller->channel, caller->context, piece->device, download->walk.rows.device_pitch,
                  piece->width, piece->height, flight->staging.offset, download->stream->object.id);
    if (error == CUDA_SUCCESS)
        error = post_chunk_fence(caller, download->stream, &flight->staging);
    if (error) {
        vgpu_staging_put(caller->channel, &flight->staging, false);
        return error;
    }
    vgpu_stream_submitted(download->stream);
    download->count++;
    return CUDA_SUCCESS;
}

/* Waits for the oldest piece in flight; its bytes count only if nothing has failed. */
static CUresult receive(struct download *download, CUresult failed)
{
    const struct flight *flight = &download->flights[download->first];
    const struct piece *piece = &flight->piece;
    CUresult error =
        vgpu_caller_wait(download->caller, flight->staging.fence, flight->staging.fence_value);
    if (failed == CUDA_SUCCESS && error == CUDA_SUCCESS) {
        for (size_t row = 0; row < piece->height; row++)
            memcpy(piece->host + row * download->walk.rows.host_pitch,
                   (char *)flight->staging.memory + row * piece->width, piece->width);
    }
    vgpu_staging_put(download->caller->channel, &flight->staging, true);
    download->first = (download->first + 1) % IN_FLIGHT;
    download->count--;
    return failed ? failed : error;
}

CUresult vgpu_copy_download(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            const struct vgpu_rows *rows)
{
    struct vgpu_process *process = vgpu_process();
    struct download download = {.caller = caller, .stream = stream, .most = 1};
    struct piece piece;
    CUresult error = CUDA_SUCCESS;
    if (vgpu_capture_of(stream))
        return vgpu_shadow_capture(caller, stream, rows, false);
    /* Who waits for a chunk while holding another could wait for ever for one who does the same: so
     * only one thread does. */
    bool alone = pthread_mutex_trylock(&process->download_lock) == 0;
    if (alone)
        download.most = IN_FLIGHT;
    begin(&download.walk, rows);
    while (error == CUDA_SUCCESS && next_piece(&download.walk, &piece)) {
        if (download.count == download.most)
            error = receive(&download, error);
        if (error == CUDA_SUCCESS)
            error = ask_for(&download, &piece);
    }
    while (download.count)
        error = receive(&download, error);
    if (alone)
        pthread_mutex_unlock(&process->download_lock);
    return error;
}

bool vgpu_copy_span(size_t pitch, size_t width, size_t height, size_t *bytes)
{
    size_t before;
    if (width == 0 || height == 0) {
        *bytes = 0;
        return true;
    }
    return !__builtin_mul_overflow(height - 1, pitch, &before) &&
           !__builtin_add_overflow(before, width, bytes);
}

CUresult vgpu_copy_check(CUdeviceptr address, size_t bytes, bool *known)
{
    struct vgpu_range range;
    if (!vgpu_ranges_find(&vgpu_process()->ranges, address, &range) ||
        (vgpu_range_is_host(&range) && !range.shared)) {
        *known = false;
        return CUDA_SUCCESS;
    }
    size_t left = range.bytes - (address - range.start);
    while (bytes > left) {
        /* To copies, what is mapped side by side is one. */
        address += left;
        bytes -= left;
        if (range.kind != VGPU_RANGE_MAPPED ||
            !vgpu_ranges_find(&vgpu_process()->ranges, address, &range) ||
            range.kind != VGPU_RANGE_MAPPED)
            return CUDA_ERROR_INVALID_VALUE;
        left = range.bytes;
    }
    return CUDA_SUCCESS;
}

CUresult vgpu_copy_check_extent(const struct vgpu_extent *extent, bool *known)
{
    size_t row, bytes;
    if (__builtin_mul_overflow(extent->width, extent->element, &row) ||
        !vgpu_copy_span(extent->pitch, row, extent->rows, &bytes) ||
        extent->start % extent->element != 0 ||
        (extent->rows > 1 && (extent->pitch < row || extent->pitch % extent->element != 0)))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_copy_check(extent->start, bytes, known);
}
