/* SPDX-License-Identifier: MIT */
/*
 * cuLink*. Inputs are PTX, fatbins, and host objects and libraries that nvcc has put fatbins into;
 * machine code is of no use here. What comes out as a "cubin" is a fatbin that holds the texts side
 * by side, which is how loading it links them.
 */
#include <ar.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft/driver/code/compiled.h"
#include "soft/driver/code/jit_log.h"
#include "soft/driver/code/texts.h"
#include "soft/driver/context.h"
#include "soft/driver/object.h"

#undef cuLinkCreate
#undef cuLinkAddData
#undef cuLinkAddFile

struct vgpu_linker {
    struct vgpu_object object;
    pthread_mutex_t lock;
    struct vgpu_jit_log log;
    struct vgpu_texts texts;
    void *cubin; /* until the linker is destroyed, as its reader expects */
};

static void destroy_linker(struct vgpu_object *object)
{
    struct vgpu_linker *linker = (struct vgpu_linker *)object;

    vgpu_texts_drop(&linker->texts);
    pthread_mutex_destroy(&linker->lock);
    free(linker->cubin);
    free(linker);
}

CUresult cuLinkCreate_v2(unsigned int numOptions, CUjit_option *options, void **optionValues,
                         CUlinkState *stateOut)
{
    struct vgpu_context *context;
    struct vgpu_linker *linker;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!stateOut)
        return CUDA_ERROR_INVALID_VALUE;
    linker = vgpu_object_create(VGPU_OBJECT_LINKER, sizeof(*linker), context, destroy_linker);
    if (!linker)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_init(&linker->lock, NULL);
    result = vgpu_jit_log_read(&linker->log, numOptions, options, optionValues);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(linker);
        return result;
    }
    vgpu_object_publish(linker);
    *stateOut = (CUlinkState)linker;
    return CUDA_SUCCESS;
}

static CUresult enter(CUlinkState state, struct vgpu_linker **linker)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *linker = vgpu_object_take(state, VGPU_OBJECT_LINKER);
    return *linker ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* ---- inputs ---- */

static int add_image(struct vgpu_linker *linker, const void *data, size_t size)
{
    struct vgpu_code code;
    int error = vgpu_code_find(data, size, &code);

    return error < 0 ? error
                     : vgpu_texts_add(&linker->texts, &code, (uint32_t)vgpu_driver()->capability);
}

/* Fatbins lie one after the other, each padded, in the sections that nvcc makes. */
static int add_section(struct vgpu_linker *linker, const uint8_t *data, size_t size)
{
    int error = 0;

    while (size > 16 && error == 0) {
        struct vgpu_code code;
        size_t step = 8;

        if (vgpu_code_find(data, size, &code) == 0 && code.kind == VGPU_CODE_FATBIN) {
            step = code.parts[0].size;
            error = vgpu_texts_add(&linker->texts, &code, (uint32_t)vgpu_driver()->capability);
            error = error == -ENOENT ? 0 : error;
        }
        step = step < size ? step : size;
        data += step;
        size -= step;
    }
    return error;
}

static bool within(uint64_t offset, uint64_t bytes, size_t size)
{
    return offset <= size && bytes <= size - offset;
}

static int add_object(struct vgpu_linker *linker, const uint8_t *data, size_t size)
{
    uint32_t before = linker->texts.count;
    Elf64_Ehdr header;
    Elf64_Shdr names, section;
    int error = 0;

    if (size < sizeof(header) || memcmp(data, ELFMAG, SELFMAG) != 0)
        return -EINVAL;
    memcpy(&header, data, sizeof(header));
    if (header.e_shentsize != sizeof(section) || header.e_shstrndx >= header.e_shnum ||
        !within(header.e_shoff, (uint64_t)header.e_shnum * sizeof(section), size))
        return -EINVAL;
    memcpy(&names, data + header.e_shoff + header.e_shstrndx * sizeof(names), sizeof(names));
    if (!within(names.sh_offset, names.sh_size, size))
        return -EINVAL;
    for (unsigned int i = 0; i < header.e_shnum && error == 0; i++) {
        const char *name;

        memcpy(&section, data + header.e_shoff + i * sizeof(section), sizeof(section));
        if (section.sh_type == SHT_NOBITS || section.sh_name >= names.sh_size ||
            !within(section.sh_offset, section.sh_size, size))
            continue;
        name = (const char *)data + names.sh_offset + section.sh_name;
        if (strncmp(name, "__nv_relfatbin", names.sh_size - section.sh_name) == 0 ||
            strncmp(name, ".nv_fatbin", names.sh_size - section.sh_name) == 0)
            error = add_section(linker, data + section.sh_offset, section.sh_size);
    }
    return error == 0 && linker->texts.count == before ? -ENOENT : error;
}

static int add_archive(struct vgpu_linker *linker, const uint8_t *data, size_t size)
{
    uint32_t before = linker->texts.count;
    size_t at = SARMAG;
    int error = 0;

    if (size < SARMAG || memcmp(data, ARMAG, SARMAG) != 0)
        return -EINVAL;
    while (error == 0 && size - at >= sizeof(struct ar_hdr)) {
        struct ar_hdr header;
        char digits[sizeof(header.ar_size) + 1] = "";
        unsigned long long bytes;

        memcpy(&header, data + at, sizeof(header));
        memcpy(digits, header.ar_size, sizeof(header.ar_size));
        bytes = strtoull(digits, NULL, 10);
        at += sizeof(header);
        if (bytes > size - at)
            return -EINVAL;
        error = add_object(linker, data + at, bytes);
        error = error == -ENOENT || error == -EINVAL ? 0 : error; /* others' members */
        at += bytes;
        at += at % 2 && at < size ? 1 : 0;
    }
    return error == 0 && linker->texts.count == before ? -ENOENT : error;
}

/* PTX is looked at as soon as it is given, so that its author hears of mistakes. */
static CUresult add_ptx(struct vgpu_linker *linker, const char *text, size_t size)
{
    struct vgpu_program *program = NULL;
    size_t length = strnlen(text, size);
    char message[512] = "";
    int error = vgpu_program_create(text, length, message, sizeof(message), &program);

    if (error == 0)
        error = vgpu_program_check(program, message, sizeof(message));
    if (error == -ENOLINK) {
        /* That is what linking is for. */
        message[0] = '\0';
        error = 0;
    }
    vgpu_program_destroy(program);
    if (error == 0)
        error = vgpu_texts_add_copy(&linker->texts, text, length);
    vgpu_jit_log_write(&linker->log, message);
    return error == 0         ? CUDA_SUCCESS
           : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                              : CUDA_ERROR_INVALID_PTX;
}

static CUresult add(struct vgpu_linker *linker, CUjitInputType type, const void *data, size_t size)
{
    int error = -EINVAL;

    switch (type) {
    case CU_JIT_INPUT_PTX:
        return add_ptx(linker, data, size);
    case CU_JIT_INPUT_CUBIN: /* such as came out of a linker here */
    case CU_JIT_INPUT_FATBINARY:
        error = add_image(linker, data, size);
        break;
    case CU_JIT_INPUT_OBJECT:
        error = add_object(linker, data, size);
        break;
    case CU_JIT_INPUT_LIBRARY:
        error = add_archive(linker, data, size);
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (error == -ENOENT)
        vgpu_jit_log_write(&linker->log, "there is no PTX in this input");
    return error == 0         ? CUDA_SUCCESS
           : error == -ENOENT ? CUDA_ERROR_NO_BINARY_FOR_GPU
           : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                              : CUDA_ERROR_INVALID_IMAGE;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size,
                          const char *name, unsigned int numOptions, CUjit_option *options,
                          void **optionValues)
{
    struct vgpu_jit_log unused;
    struct vgpu_linker *linker;
    CUresult result = enter(state, &linker);

    (void)name;
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_jit_log_read(&unused, numOptions, options, optionValues);
    if (result == CUDA_SUCCESS && (!data || size == 0))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        pthread_mutex_lock(&linker->lock);
        result = linker->cubin ? CUDA_ERROR_INVALID_VALUE : add(linker, type, data, size);
        pthread_mutex_unlock(&linker->lock);
    }
    vgpu_object_put(linker);
    return result;
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path,
                          unsigned int numOptions, CUjit_option *options, void **optionValues)
{
    size_t size;
    void *data;
    CUresult result = vgpu_compiled_read_bytes(path, &data, &size);

    if (result != CUDA_SUCCESS)
        return result;
    result = cuLinkAddData_v2(state, type, data, size, path, numOptions, options, optionValues);
    free(data);
    return result;
}

/* ---- the result ---- */

enum { CONTAINER_BYTES = 16, ENTRY_BYTES = 64 };

static void put(uint8_t *at, uint64_t value, unsigned int bytes)
{
    memcpy(at, &value, bytes); /* this processor's order is the format's */
}

/* A fatbin as nvcc writes it, without compression. */
static uint8_t *container(const struct vgpu_texts *texts, uint32_t architecture, size_t *size)
{
    size_t at = CONTAINER_BYTES;
    uint8_t *fatbin;

    *size = CONTAINER_BYTES;
    for (uint32_t i = 0; i < texts->count; i++)
        *size += ENTRY_BYTES + (texts->list[i].length + 8) / 8 * 8;
    fatbin = calloc(1, *size);
    if (!fatbin)
        return NULL;
    put(fatbin, 0xba55ed50, 4);
    put(fatbin + 4, 1, 2);
    put(fatbin + 6, CONTAINER_BYTES, 2);
    put(fatbin + 8, *size - CONTAINER_BYTES, 8);
    for (uint32_t i = 0; i < texts->count; i++) {
        size_t padded = (texts->list[i].length + 8) / 8 * 8;

        put(fatbin + at, VGPU_FATBIN_PTX, 2);
        put(fatbin + at + 2, 0x101, 2);
        put(fatbin + at + 4, ENTRY_BYTES, 4);
        put(fatbin + at + 8, padded, 8);
        put(fatbin + at + 28, architecture, 4);
        put(fatbin + at + 40, 0x11, 8); /* 64 bits, Linux */
        memcpy(fatbin + at + ENTRY_BYTES, texts->list[i].text, texts->list[i].length);
        at += ENTRY_BYTES + padded;
    }
    return fatbin;
}

static CUresult complete(struct vgpu_linker *linker, size_t *size)
{
    struct vgpu_program *program = NULL;
    struct vgpu_kernel_info info;
    char message[512] = "";
    uint32_t architecture = 10;
    int error = vgpu_program_link(linker->texts.list, linker->texts.count, message, sizeof(message),
                                  &program);

    const char *undefined = error == 0 ? vgpu_program_undefined(program) : NULL;

    if (undefined)
        snprintf(message, sizeof(message), "undefined reference to '%s'", undefined);
    vgpu_jit_log_write(&linker->log, message);
    if (error < 0 || undefined) {
        vgpu_program_destroy(program);
        return error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    }
    if (vgpu_program_kernel_info(program, 0, &info) == 0)
        architecture = info.target;
    vgpu_program_destroy(program);
    linker->cubin = container(&linker->texts, architecture, size);
    return linker->cubin ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuLinkComplete(CUlinkState state, void **cubinOut, size_t *sizeOut)
{
    struct vgpu_linker *linker;
    CUresult result = enter(state, &linker);
    size_t size;

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&linker->lock);
    result = cubinOut && !linker->cubin && linker->texts.count > 0 ? complete(linker, &size)
                                                                   : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        *cubinOut = linker->cubin;
        if (sizeOut)
            *sizeOut = size;
    }
    pthread_mutex_unlock(&linker->lock);
    vgpu_object_put(linker);
    return result;
}

CUresult cuLinkDestroy(CUlinkState state)
{
    struct vgpu_linker *linker;
    CUresult result = enter(state, &linker);

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_object_withdraw(linker, VGPU_OBJECT_LINKER))
        result = CUDA_ERROR_INVALID_HANDLE;
    else
        vgpu_object_put(linker);
    vgpu_object_put(linker);
    return result;
}

/* The names without a suffix differ in nothing but the type of option numbers. */
CUresult cuLinkCreate(unsigned int numOptions, CUjit_option *options, void **optionValues,
                      CUlinkState *stateOut)
{
    return cuLinkCreate_v2(numOptions, options, optionValues, stateOut);
}

CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size,
                       const char *name, unsigned int numOptions, CUjit_option *options,
                       void **optionValues)
{
    return cuLinkAddData_v2(state, type, data, size, name, numOptions, options, optionValues);
}

CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path,
                       unsigned int numOptions, CUjit_option *options, void **optionValues)
{
    return cuLinkAddFile_v2(state, type, path, numOptions, options, optionValues);
}
