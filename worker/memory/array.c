/* SPDX-License-Identifier: MIT */
#include "worker/memory/array.h"

#include "worker/memory/clear.h"
#include "worker/worker.h"

#define ZEROS_MOST                                                                                 \
    (4u << 20) /* bytes of zeros that are copied at a time, if a row is no longer                  \
                */

/* What an array is made of: blocks of so many elements in both directions. */
struct layout {
    uint32_t side;  /* elements; 0: no such format */
    uint32_t bytes; /* of a block */
    bool planes;    /* the bytes lie in several planes, which are arrays by themselves */
};

static struct layout layout_of(CUarray_format format, uint32_t channels)
{
    switch ((uint32_t)format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return (struct layout){1, channels, false};
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return (struct layout){1, 2 * channels, false};
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return (struct layout){1, 4 * channels, false};
    case CU_AD_FORMAT_UNORM_INT8X1:
    case CU_AD_FORMAT_SNORM_INT8X1:
        return (struct layout){1, 1, false};
    case CU_AD_FORMAT_UNORM_INT8X2:
    case CU_AD_FORMAT_SNORM_INT8X2:
    case CU_AD_FORMAT_UNORM_INT16X1:
    case CU_AD_FORMAT_SNORM_INT16X1:
    case CU_AD_FORMAT_YUY2:
        return (struct layout){1, 2, false};
    case CU_AD_FORMAT_UNORM_INT8X4:
    case CU_AD_FORMAT_SNORM_INT8X4:
    case CU_AD_FORMAT_UNORM_INT16X2:
    case CU_AD_FORMAT_SNORM_INT16X2:
    case CU_AD_FORMAT_UNORM_INT_101010_2:
    case CU_AD_FORMAT_Y210:
    case CU_AD_FORMAT_Y216:
    case CU_AD_FORMAT_AYUV:
    case CU_AD_FORMAT_Y410:
        return (struct layout){1, 4, false};
    case CU_AD_FORMAT_UNORM_INT16X4:
    case CU_AD_FORMAT_SNORM_INT16X4:
    case CU_AD_FORMAT_Y416:
        return (struct layout){1, 8, false};
    case CU_AD_FORMAT_BC1_UNORM:
    case CU_AD_FORMAT_BC1_UNORM_SRGB:
    case CU_AD_FORMAT_BC4_UNORM:
    case CU_AD_FORMAT_BC4_SNORM:
        return (struct layout){4, 8, false};
    case CU_AD_FORMAT_BC2_UNORM:
    case CU_AD_FORMAT_BC2_UNORM_SRGB:
    case CU_AD_FORMAT_BC3_UNORM:
    case CU_AD_FORMAT_BC3_UNORM_SRGB:
    case CU_AD_FORMAT_BC5_UNORM:
    case CU_AD_FORMAT_BC5_SNORM:
    case CU_AD_FORMAT_BC6H_UF16:
    case CU_AD_FORMAT_BC6H_SF16:
    case CU_AD_FORMAT_BC7_UNORM:
    case CU_AD_FORMAT_BC7_UNORM_SRGB:
        return (struct layout){4, 16, false};
    case CU_AD_FORMAT_NV12:
        return (struct layout){2, 6, true};
    case CU_AD_FORMAT_P010:
    case CU_AD_FORMAT_P016:
        return (struct layout){2, 12, true};
    case CU_AD_FORMAT_NV16:
        return (struct layout){1, 2, true};
    case CU_AD_FORMAT_P210:
    case CU_AD_FORMAT_P216:
        return (struct layout){1, 4, true};
    case CU_AD_FORMAT_Y444_PLANAR8:
    case CU_AD_FORMAT_YUV444_8bit_SemiPlanar:
        return (struct layout){1, 3, true};
    case CU_AD_FORMAT_Y444_PLANAR10:
    case CU_AD_FORMAT_YUV444_16bit_SemiPlanar:
        return (struct layout){1, 6, true};
    default:
        return (struct layout){0};
    }
}

static uint64_t blocks(uint64_t elements, uint32_t side)
{
    return elements / side + (elements % side != 0);
}

/* The same array one level down. Layers are as many on every level. */
static void halve(CUDA_ARRAY3D_DESCRIPTOR *array)
{
    bool layers = array->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
    array->Width = array->Width > 1 ? array->Width / 2 : array->Width;
    array->Height = array->Height > 1 ? array->Height / 2 : array->Height;
    if (!layers && array->Depth > 1)
        array->Depth /= 2;
}

bool vgpu_array_bytes(const CUDA_ARRAY3D_DESCRIPTOR *array, uint32_t levels, uint64_t *bytes)
{
    CUDA_ARRAY3D_DESCRIPTOR level = *array;
    *bytes = 0;
    for (uint32_t i = 0; i == 0 || i < levels; i++, halve(&level)) {
        struct layout layout = layout_of(level.Format, level.NumChannels);
        uint64_t part;
        if (layout.side == 0 || level.NumChannels > 4 || i > 63 ||
            __builtin_mul_overflow(blocks(level.Width, layout.side), layout.bytes, &part) ||
            __builtin_mul_overflow(part, level.Height ? blocks(level.Height, layout.side) : 1,
                                   &part) ||
            __builtin_mul_overflow(part, level.Depth ? level.Depth : 1, &part) ||
            __builtin_add_overflow(*bytes, part, bytes))
            return false;
    }
    return true;
}

void vgpu_array_blocks(const CUDA_ARRAY3D_DESCRIPTOR *array, uint32_t *side, uint32_t *bytes)
{
    struct layout layout = layout_of(array->Format, array->NumChannels);
    *side = layout.side;
    *bytes = layout.planes ? 0 : layout.bytes;
}

/* A source of zeros, and where they go. */
struct zeros {
    CUdeviceptr memory;
    uint64_t row;  /* bytes of a row */
    uint64_t rows; /* that there are zeros for */
    uint64_t height, depth;
};

static CUresult copy_zeros(struct vgpu_worker *worker, const struct zeros *zeros, CUarray array)
{
    const struct vgpu_driver *driver = worker->driver;
    CUstream stream;
    CUresult error = vgpu_clear_stream(worker, &stream);
    if (error)
        return error;
    error = driver->cuMemsetD8Async(zeros->memory, 0, zeros->row * zeros->rows, stream);
    for (uint64_t z = 0; z < zeros->depth && error == CUDA_SUCCESS; z++) {
        for (uint64_t y = 0; y < zeros->height && error == CUDA_SUCCESS; y += zeros->rows) {
            uint64_t left = zeros->height - y;
            const CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                                        .srcDevice = zeros->memory,
                                        .srcPitch = zeros->row,
                                        .srcHeight = zeros->rows,
                                        .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                                        .dstArray = array,
                                        .dstY = y,
                                        .dstZ = z,
                                        .WidthInBytes = zeros->row,
                                        .Height = left < zeros->rows ? left : zeros->rows,
                                        .Depth = 1};
            error = driver->cuMemcpy3DAsync(&copy, stream);
        }
    }
    CUresult late = driver->cuStreamSynchronize(stream);
    return error ? error : late;
}

static CUresult clear_whole(struct vgpu_worker *worker, CUarray array,
                            const CUDA_ARRAY3D_DESCRIPTOR *is, struct layout layout)
{
    const struct vgpu_driver *driver = worker->driver;
    struct zeros zeros = {.row = blocks(is->Width, layout.side) * layout.bytes,
                          .height = is->Height ? blocks(is->Height, layout.side) : 1,
                          .depth = is->Depth ? is->Depth : 1};
    vgpu_clear_count(worker, zeros.row * zeros.height * zeros.depth);
    zeros.rows = zeros.row < ZEROS_MOST ? ZEROS_MOST / zeros.row : 1;
    if (zeros.rows > zeros.height)
        zeros.rows = zeros.height;
    CUresult error = driver->cuMemAlloc(&zeros.memory, zeros.row * zeros.rows);
    if (error)
        return error;
    error = copy_zeros(worker, &zeros, array);
    driver->cuMemFree(zeros.memory);
    return error;
}

CUresult vgpu_array_clear(struct vgpu_worker *worker, CUarray array)
{
    const struct vgpu_driver *driver = worker->driver;
    CUDA_ARRAY3D_DESCRIPTOR is;
    CUarray plane;
    if (driver->is_software)
        return CUDA_SUCCESS;
    CUresult error = driver->cuArray3DGetDescriptor(&is, array);
    if (error)
        return error;
    struct layout layout = layout_of(is.Format, is.NumChannels);
    if (layout.side == 0 || is.Width == 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!layout.planes)
        return clear_whole(worker, array, &is, layout);
    for (uint32_t i = 0; error == CUDA_SUCCESS; i++) {
        if (driver->cuArrayGetPlane(&plane, array, i) != CUDA_SUCCESS)
            return i ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
        error = driver->cuArray3DGetDescriptor(&is, plane);
        if (error)
            break;
        layout = layout_of(is.Format, is.NumChannels);
        error = layout.side == 0 || layout.planes || is.Width == 0
                    ? CUDA_ERROR_NOT_SUPPORTED
                    : clear_whole(worker, plane, &is, layout);
    }
    return error;
}
