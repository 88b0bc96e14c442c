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
#include "guest/memory/pages.h"
#include "guest/memory/team.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "protocol/copy.h"
#include "protocol/send.h"

#define INLINE_BYTES 16384u
#define IN_FLIGHT    8u /* chunks of a download that nobody copies out of yet */
#define LARGE_BYTES  ((size_t)4 << 20)

static_assert(IN_FLIGHT + VGPU_TEAM_HELPERS_MOST + 1 < VGPU_STAGING_CHUNKS, "some are left");

/* A part that fits into a chunk: rows that follow each other, or a part of one. */
struct piece {
    size_t row, column; /* the first; rows of all planes are counted through */
    size_t width, height;
};

/* A walk over rows in pieces. */
struct walk {
    struct vgpu_rows rows;
    size_t row, column;
};

/* Whether the rows of all planes lie equally far apart. */
static bool is_even(const struct vgpu_rows *rows, size_t pitch, size_t plane)
{
    return rows->depth == 1 || plane == pitch * rows->height;
}

static bool is_packed(const struct vgpu_rows *rows, size_t pitch, size_t plane)
{
    return pitch == rows->width && is_even(rows, pitch, plane);
}

static void begin(struct walk *walk, const struct vgpu_rows *rows)
{
    *walk = (struct walk){.rows = *rows};
    if (rows->array == NULL && is_packed(rows, rows->device_pitch, rows->device_plane) &&
        is_packed(rows, rows->host_pitch, rows->host_plane)) {
        /* the caller knows that this does not overflow */
        walk->rows.width *= rows->height * rows->depth;
        walk->rows.height = walk->rows.depth = 1;
    }
}

/* How many rows, from this one on, lie equally far apart on the device. */
static size_t rows_in_step(const struct vgpu_rows *rows, size_t row)
{
    bool all = rows->array == NULL && is_even(rows, rows->device_pitch, rows->device_plane);
    return all ? rows->height * rows->depth - row : rows->height - row % rows->height;
}

static bool next_piece(struct walk *walk, struct piece *piece)
{
    const struct vgpu_rows *rows = &walk->rows;
    if (rows->width == 0 || walk->row == rows->height * rows->depth)
        return false;
    piece->column = walk->column;
    piece->row = walk->row;
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
    size_t fit = VGPU_STAGING_CHUNK_BYTES / rows->width, left = rows_in_step(rows, walk->row);
    piece->width = rows->width;
    piece->height = left < fit ? left : fit;
    walk->row += piece->height;
    return true;
}

/* Of a row of the piece, from the first byte of all. */
static size_t offset_of(const struct vgpu_rows *rows, const struct piece *piece, size_t row,
                        size_t pitch, size_t plane)
{
    row += piece->row;
    return row / rows->height * plane + row % rows->height * pitch + piece->column;
}

static char *host_of(const struct vgpu_rows *rows, const struct piece *piece, size_t row)
{
    return rows->host + offset_of(rows, piece, row, rows->host_pitch, rows->host_plane);
}

static CUdeviceptr device_of(const struct vgpu_rows *rows, const struct piece *piece, size_t row)
{
    return rows->device + offset_of(rows, piece, row, rows->device_pitch, rows->device_plane);
}

CUresult vgpu_copy_take_chunk(struct vgpu_channel *channel, const void *owner,
                              enum vgpu_staging_wait wait, struct vgpu_staging *staging)
{
    for (;;) {
        CUresult error = vgpu_staging_take(channel, owner, wait, staging);
        if (error == CUDA_SUCCESS || error == CUDA_ERROR_NOT_READY)
            return error;
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
    array.y += piece->row % walk->rows.height;
    array.z += piece->row / walk->rows.height;
    box.source = to_array ? packed : array;
    box.destination = to_array ? array : packed;
    return vgpu_send_vgpuCopyBox(caller->channel, caller->context, stream->object.id, &box,
                                 sizeof(box));
}

/* ---- to the device ---- */

static CUresult send_inline(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            CUdeviceptr device, const char *host, size_t bytes)
{
    CUresult error = vgpu_send_vgpuCopyInline(caller->channel, caller->context, device,
                                              stream->object.id, host, bytes);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

/* For want of a chunk: through the ring, which others only pass through. */
static CUresult send_rows_inline(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                                 const struct walk *walk, const struct piece *piece)
{
    CUresult error = CUDA_SUCCESS;
    for (size_t row = 0; row < piece->height; row++) {
        CUdeviceptr device = device_of(&walk->rows, piece, row);
        const char *host = host_of(&walk->rows, piece, row);
        for (size_t left = piece->width, part; error == CUDA_SUCCESS && left; left -= part) {
            part = left < VGPU_PAYLOAD_MAX ? left : VGPU_PAYLOAD_MAX;
            error = send_inline(caller, stream, device, host, part);
            device += part;
            host += part;
        }
    }
    return error;
}

static void gather(char *to, const struct vgpu_rows *rows, const struct piece *piece)
{
    for (size_t row = 0; row < piece->height; row++)
        memcpy(to + row * piece->width, host_of(rows, piece, row), piece->width);
}

static CUresult send_piece(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                           const struct walk *walk, const struct piece *piece)
{
    struct vgpu_staging staging;
    CUresult error = vgpu_copy_take_chunk(
        caller->channel, stream, walk->rows.array ? VGPU_STAGING_WAIT : VGPU_STAGING_WAIT_FOR_US,
        &staging);
    if (error == CUDA_ERROR_NOT_READY)
        return send_rows_inline(caller, stream, walk, piece);
    if (error)
        return error;
    gather(staging.memory, &walk->rows, piece);
    vgpu_trace_carried(caller->channel,
                       walk->rows.array ? VGPU_CALL_vgpuCopyBox : VGPU_CALL_vgpuCopyToDevice,
                       (uint64_t)piece->width * piece->height);
    error = walk->rows.array
                ? send_box(caller, stream, walk, piece, &staging, true)
                : vgpu_send_vgpuCopyToDevice(caller->channel, caller->context,
                                             device_of(&walk->rows, piece, 0),
                                             walk->rows.device_pitch, piece->width, piece->height,
                                             staging.offset, stream->object.id);
    if (error == CUDA_SUCCESS)
        error = post_chunk_fence(caller, stream, &staging);
    vgpu_staging_put(caller->channel, &staging, error == CUDA_SUCCESS);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

/* What the threads of a team share. */
struct transfer {
    const struct vgpu_caller *caller;
    struct vgpu_stream *stream;
    pthread_mutex_t lock; /* of what follows */
    struct walk walk;
    CUresult error; /* the first; nothing is begun after it */
    /* of a download: */
    struct flight {
        struct piece piece;
        struct vgpu_staging staging;
    } flights[IN_FLIGHT]; /* a ring of what was asked for */
    unsigned int first, count, most;
    bool large; /* does not fit into the caches */
};

static void begin_transfer(struct transfer *transfer, const struct vgpu_caller *caller,
                           struct vgpu_stream *stream, const struct vgpu_rows *rows)
{
    *transfer = (struct transfer){.caller = caller, .stream = stream, .most = 1};
    pthread_mutex_init(&transfer->lock, NULL);
    begin(&transfer->walk, rows);
    transfer->large = rows->width * rows->height * rows->depth >= LARGE_BYTES;
}

static CUresult end_transfer(struct transfer *transfer)
{
    pthread_mutex_destroy(&transfer->lock);
    return transfer->error;
}

static bool next(struct transfer *transfer, struct piece *piece)
{
    return transfer->error == CUDA_SUCCESS && next_piece(&transfer->walk, piece);
}

static void keep_first(struct transfer *transfer, CUresult error)
{
    if (transfer->error == CUDA_SUCCESS)
        transfer->error = error;
}

/* Piece after piece, each at a time of its own: they do not overlap on the device. */
static void upload_pieces(void *argument)
{
    struct transfer *transfer = argument;
    struct piece piece;
    pthread_mutex_lock(&transfer->lock);
    while (next(transfer, &piece)) {
        pthread_mutex_unlock(&transfer->lock);
        CUresult error = send_piece(transfer->caller, transfer->stream, &transfer->walk, &piece);
        pthread_mutex_lock(&transfer->lock);
        keep_first(transfer, error);
    }
    pthread_mutex_unlock(&transfer->lock);
}

static uint32_t helpers_for(const struct vgpu_rows *rows)
{
    return vgpu_team_size(rows->width * rows->height * rows->depth);
}

CUresult vgpu_copy_upload(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                          const struct vgpu_rows *rows)
{
    struct transfer transfer;
    if (vgpu_capture_of(stream))
        return vgpu_shadow_capture(caller, stream, rows, true);
    begin_transfer(&transfer, caller, stream, rows);
    if (rows->array == NULL && transfer.walk.rows.height * transfer.walk.rows.depth == 1 &&
        transfer.walk.rows.width <= INLINE_BYTES) {
        if (transfer.walk.rows.width)
            transfer.error =
                send_inline(caller, stream, rows->device, rows->host, transfer.walk.rows.width);
    } else {
        vgpu_team_run(&vgpu_process()->team, helpers_for(rows), upload_pieces, &transfer);
    }
    return end_transfer(&transfer);
}

/* ---- from the device ---- */

/* Asks for the next piece. Called with the transfer's lock. CUDA_ERROR_NOT_READY: there is none, or
 * what was asked for has to be copied out first. */
static CUresult ask_for_next(struct transfer *transfer)
{
    const struct vgpu_caller *caller = transfer->caller;
    struct flight *flight = &transfer->flights[(transfer->first + transfer->count) % IN_FLIGHT];
    struct walk walk = transfer->walk;
    if (transfer->error || !next_piece(&walk, &flight->piece))
        return CUDA_ERROR_NOT_READY;
    CUresult error = vgpu_copy_take_chunk(
        caller->channel, transfer->stream,
        transfer->count ? VGPU_STAGING_AT_ONCE : VGPU_STAGING_WAIT, &flight->staging);
    if (error)
        return error;
    transfer->walk = walk;
    const struct piece *piece = &flight->piece;
    vgpu_trace_carried(caller->channel,
                       transfer->walk.rows.array ? VGPU_CALL_vgpuCopyBox
                                                 : VGPU_CALL_vgpuCopyFromDevice,
                       (uint64_t)piece->width * piece->height);
    error =
        transfer->walk.rows.array
            ? send_box(caller, transfer->stream, &transfer->walk, piece, &flight->staging, false)
            : vgpu_send_vgpuCopyFromDevice(
                  caller->channel, caller->context, device_of(&walk.rows, piece, 0),
                  transfer->walk.rows.device_pitch, piece->width, piece->height,
                  flight->staging.offset, transfer->stream->object.id);
    if (error == CUDA_SUCCESS)
        error = post_chunk_fence(caller, transfer->stream, &flight->staging);
    if (error) {
        vgpu_staging_put(caller->channel, &flight->staging, false);
        return error;
    }
    vgpu_stream_submitted(transfer->stream);
    transfer->count++;
    return CUDA_SUCCESS;
}

static void scatter(const struct transfer *transfer, const struct flight *flight)
{
    const struct vgpu_rows *rows = &transfer->walk.rows;
    const struct piece *piece = &flight->piece;
    const char *from = flight->staging.memory;
    if (piece->height == 1 && transfer->large) {
        vgpu_pages_fill(host_of(rows, piece, 0), from, piece->width);
        return;
    }
    for (size_t row = 0; row < piece->height; row++)
        memcpy(host_of(rows, piece, row), from + row * piece->width, piece->width);
}

/* Waits for a piece that was asked for; its bytes count only if nothing has failed. */
static CUresult receive(const struct transfer *transfer, const struct flight *flight, bool failed)
{
    const struct vgpu_caller *caller = transfer->caller;
    if (flight->piece.height == 1 && transfer->large) /* while the device copies */
        vgpu_pages_prepare(host_of(&transfer->walk.rows, &flight->piece, 0), flight->piece.width);
    CUresult error = vgpu_caller_wait(caller, flight->staging.fence, flight->staging.fence_value);
    if (!failed && error == CUDA_SUCCESS)
        scatter(transfer, flight);
    vgpu_staging_put(caller->channel, &flight->staging, true);
    return error;
}

/* As much as possible is asked for before the oldest piece is waited for. */
static void download_pieces(void *argument)
{
    struct transfer *transfer = argument;
    pthread_mutex_lock(&transfer->lock);
    for (;;) {
        CUresult asked = CUDA_SUCCESS;
        while (asked == CUDA_SUCCESS && transfer->count < transfer->most)
            asked = ask_for_next(transfer);
        if (asked != CUDA_ERROR_NOT_READY)
            keep_first(transfer, asked);
        if (transfer->count == 0)
            break;
        struct flight flight = transfer->flights[transfer->first];
        bool failed = transfer->error != CUDA_SUCCESS;
        transfer->first = (transfer->first + 1) % IN_FLIGHT;
        transfer->count--;
        pthread_mutex_unlock(&transfer->lock);
        CUresult error = receive(transfer, &flight, failed);
        pthread_mutex_lock(&transfer->lock);
        keep_first(transfer, error);
    }
    pthread_mutex_unlock(&transfer->lock);
}

CUresult vgpu_copy_download(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            const struct vgpu_rows *rows)
{
    struct vgpu_process *process = vgpu_process();
    struct transfer transfer;
    if (vgpu_capture_of(stream))
        return vgpu_shadow_capture(caller, stream, rows, false);
    begin_transfer(&transfer, caller, stream, rows);
    /* Who waits for a chunk while holding another could wait for ever for one who does the same: so
     * only one transfer does, and it leaves some for the others. */
    bool alone = pthread_mutex_trylock(&process->download_lock) == 0;
    if (alone)
        transfer.most = IN_FLIGHT;
    vgpu_team_run(&process->team, alone ? helpers_for(rows) : 0, download_pieces, &transfer);
    if (alone)
        pthread_mutex_unlock(&process->download_lock);
    return end_transfer(&transfer);
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
        /* If it was freed, the driver has to know before it judges. */
        vgpu_freed_tell(vgpu_process()->channel);
        return vgpu_send_vgpuReserveCheck(vgpu_process()->channel, 0, address);
    }
    if (range.kind == VGPU_RANGE_GRAPH)
        *known = false;
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
