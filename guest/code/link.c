/* SPDX-License-Identifier: MIT */
/* The linker: it works on the host; what it makes comes back here. */
#include <stdlib.h>
#include <string.h>

#include "guest/code/image_upload.h"
#include "guest/code/jit.h"
#include "guest/process/caller.h"
#include "guest/process/objects.h"
#include "guest/process/process.h"
#include "protocol/jit.h"
#include "protocol/send.h"

struct vgpu_linker {
    struct vgpu_object object;
    struct vgpu_jit_outputs outputs; /* as given when it was made: they are the program's */
    char *cubin;                     /* NULL until it is complete; the program may look at it */
    size_t bytes;
};

static void end_linker(struct vgpu_object *object)
{
    struct vgpu_linker *linker = (struct vgpu_linker *)object;
    free(linker->cubin);
}

CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values,
                         CUlinkState *handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_jit_options jit;
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_jit_options_parse(&jit, count, options, values);
    if (error)
        return error;
    struct vgpu_linker *linker =
        vgpu_object_take(&process->objects, sizeof(*linker), caller.current);
    if (linker) {
        linker->object.end = end_linker;
        linker->outputs = jit.outputs;
        error = vgpu_send_cuLinkCreate(caller.channel, caller.context, linker->object.id,
                                       jit.request, jit.bytes);
    } else {
        error = CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_jit_options_end(&jit);
    if (error) {
        if (linker)
            vgpu_object_put(&process->objects, &linker->object);
        return vgpu_process_note(process, error);
    }
    vgpu_object_publish(&linker->object, VGPU_KIND_LINKER);
    *handle = vgpu_object_handle(linker);
    return CUDA_SUCCESS;
}

static CUresult enter(struct vgpu_caller *caller, CUlinkState handle, struct vgpu_linker **linker)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    *linker = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_LINKER);
    if (*linker == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    vgpu_caller_follow(caller, &(*linker)->object);
    return CUDA_SUCCESS;
}

/* The input as the host wants it: text ends with its NUL, wherever the program says it ends. */
static CUresult send_input(struct vgpu_channel *channel, CUjitInputType type, const void *data,
                           size_t size)
{
    if (type == CU_JIT_INPUT_PTX)
        size = strnlen(data, size);
    return size ? vgpu_image_send(channel, data, size) : CUDA_ERROR_INVALID_IMAGE;
}

CUresult cuLinkAddData_v2(CUlinkState handle, CUjitInputType type, void *data, size_t size,
                          const char *name, unsigned int count, CUjit_option *options,
                          void **values)
{
    struct vgpu_process *process = vgpu_process();
    uint8_t reply[VGPU_REPLY_PAYLOAD_MAX];
    struct vgpu_jit_options jit;
    struct vgpu_caller caller;
    struct vgpu_linker *linker;
    size_t bytes = 0;
    CUresult error = enter(&caller, handle, &linker);
    if (error)
        return error;
    if (data == NULL || size == 0 || (unsigned int)type >= CU_JIT_NUM_INPUT_TYPES)
        return CUDA_ERROR_INVALID_VALUE;
    if (type == CU_JIT_INPUT_NVVM)
        return CUDA_ERROR_NOT_SUPPORTED; /* only that of toolkits before 12.0 ever worked */
    if (linker->cubin)
        return CUDA_ERROR_INVALID_HANDLE;
    error = vgpu_jit_options_parse(&jit, count, options, values);
    if (error)
        return error;
    if (name == NULL)
        name = "";
    pthread_mutex_lock(&process->image_lock);
    error = send_input(caller.channel, type, data, size);
    if (error == CUDA_SUCCESS)
        error = vgpu_send_cuLinkAddData(caller.channel, caller.context, linker->object.id, type,
                                        jit.request, jit.bytes, name, strlen(name) + 1, reply,
                                        sizeof(reply), &bytes);
    vgpu_jit_answered(caller.channel, &linker->outputs, reply, bytes);
    pthread_mutex_unlock(&process->image_lock);
    vgpu_jit_options_end(&jit);
    return vgpu_process_note(process, error);
}

CUresult cuLinkAddFile_v2(CUlinkState handle, CUjitInputType type, const char *path,
                          unsigned int count, CUjit_option *options, void **values)
{
    struct vgpu_caller caller;
    struct vgpu_linker *linker;
    char *data;
    size_t bytes;
    CUresult error = enter(&caller, handle, &linker);
    if (error)
        return error;
    if (path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_image_read(path, &data, &bytes);
    if (error)
        return error;
    error = cuLinkAddData_v2(handle, type, data, bytes, path, count, options, values);
    free(data);
    return error;
}

/* Fetches what was made. Under image_lock, before anything else is linked. */
static CUresult fetch(const struct vgpu_caller *caller, struct vgpu_linker *linker,
                      const uint8_t *reply, size_t bytes)
{
    struct vgpu_jit_answer answer;
    if (bytes < sizeof(answer))
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    memcpy(&answer, reply, sizeof(answer));
    char *cubin = malloc(answer.result_bytes + 1);
    if (cubin == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_jit_read(caller->channel, VGPU_JIT_RESULT, cubin, answer.result_bytes);
    if (error) {
        free(cubin);
        return error;
    }
    cubin[answer.result_bytes] = 0; /* what a software GPU makes is text */
    linker->cubin = cubin;
    linker->bytes = answer.result_bytes;
    return CUDA_SUCCESS;
}

CUresult cuLinkComplete(CUlinkState handle, void **cubin, size_t *size)
{
    struct vgpu_process *process = vgpu_process();
    uint8_t reply[VGPU_REPLY_PAYLOAD_MAX];
    struct vgpu_caller caller;
    struct vgpu_linker *linker;
    size_t bytes = 0;
    CUresult error = enter(&caller, handle, &linker);
    if (error)
        return error;
    if (cubin == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->image_lock);
    if (linker->cubin == NULL) {
        error = vgpu_send_cuLinkComplete(caller.channel, caller.context, linker->object.id, reply,
                                         sizeof(reply), &bytes);
        vgpu_jit_answered(caller.channel, &linker->outputs, reply, bytes);
        if (error == CUDA_SUCCESS)
            error = fetch(&caller, linker, reply, bytes);
    }
    pthread_mutex_unlock(&process->image_lock);
    if (error)
        return vgpu_process_note(process, error);
    *cubin = linker->cubin;
    if (size)
        *size = linker->bytes;
    return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_linker *linker;
    CUresult error = enter(&caller, handle, &linker);
    if (error)
        return error;
    error = vgpu_send_cuLinkDestroy(caller.channel, caller.context, linker->object.id);
    vgpu_object_put(&process->objects, &linker->object);
    return vgpu_process_note(process, error);
}

extern __typeof__(cuLinkCreate_v2) cuLinkCreate __attribute__((alias("cuLinkCreate_v2")));
extern __typeof__(cuLinkAddData_v2) cuLinkAddData __attribute__((alias("cuLinkAddData_v2")));
extern __typeof__(cuLinkAddFile_v2) cuLinkAddFile __attribute__((alias("cuLinkAddFile_v2")));
