/* SPDX-License-Identifier: MIT */
/** Moves bytes between this process and the device, and within the device. */
#ifndef VGPU_GUEST_COPY_H
#define VGPU_GUEST_COPY_H

#include "interop/driver_api.h"

#include <stddef.h>

#include "guest/channel/channel.h"
#include "guest/process/caller.h"

struct vgpu_box_side;

/** Rows of `width` bytes, `height` of them in each of `depth` planes; the rows of each side are its
 *  pitch apart, and the planes its `plane` bytes. One row for what is linear. */
struct vgpu_rows {
    CUdeviceptr device;
    size_t device_pitch, device_plane;
    const struct vgpu_box_side *array; /* instead of `device`, if it is not NULL */
    char *host;                        /* only read by an upload */
    size_t host_pitch, host_plane;
    size_t width, height, depth;
};

/** Returns when the bytes have left `host`, like CUDA with pageable memory. */
CUresult vgpu_copy_upload(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                          const struct vgpu_rows *rows);

/**
 * Ends a synchronous copy that was posted to the default stream `handle`. CUDA promises that its
 * bytes are there for every stream; blocking streams are ordered behind the legacy stream anyway,
 * so only a non-blocking one waits, when it is next used (vgpu_context_settle). Passes `error` on.
 */
CUresult vgpu_copy_arrive(CUresult error, CUstream handle);

/** Returns when the bytes have arrived. */
CUresult vgpu_copy_download(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            const struct vgpu_rows *rows);

/** As vgpu_staging_take, but errors of earlier asynchronous work do not keep it from its chunk. */
CUresult vgpu_copy_take_chunk(struct vgpu_channel *channel, const void *owner,
                              enum vgpu_staging_wait wait, struct vgpu_staging *staging);

/** How many bytes `height` rows of `width` take. False if that overflows. */
bool vgpu_copy_span(size_t pitch, size_t width, size_t height, size_t *bytes);

/**
 * Looks at device memory before something is done to it. CUDA_ERROR_INVALID_VALUE: it leaves its
 * allocation. *known is cleared if the memory is not known here, or is a graph's: then the driver
 * must judge, and the caller asks it (a variable's address may come from device code).
 */
CUresult vgpu_copy_check(CUdeviceptr address, size_t bytes, bool *known);

/** `rows` rows of `width` elements of `element` bytes; the rows are `pitch` bytes apart, which is
 * of no importance if there is one. */
struct vgpu_extent {
    CUdeviceptr start;
    size_t element, width, rows, pitch;
};

/** As vgpu_copy_check; CUDA_ERROR_INVALID_VALUE, too, if elements are not aligned or rows overlap.
 */
CUresult vgpu_copy_check_extent(const struct vgpu_extent *extent, bool *known);

#endif
