/* SPDX-License-Identifier: MIT */
#include "worker/primitive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "worker/driver.h"
#include "worker/log.h"

/* c[i] = a[i] + b[i]; one block, a thread for each i. a, b and c follow one another. */
static const char vector_add_ptx[] =
    ".version 6.4\n"
    ".target sm_75\n"
    ".address_size 64\n"
    ".visible .entry vector_add(.param .u64 memory, .param .u32 count)\n"
    "{\n"
    "    .reg .pred %outside;\n"
    "    .reg .b32 %i, %count;\n"
    "    .reg .b64 %a, %b, %c, %step;\n"
    "    .reg .f32 %x, %y;\n"
    "    ld.param.u64 %a, [memory];\n"
    "    ld.param.u32 %count, [count];\n"
    "    mov.u32 %i, %tid.x;\n"
    "    setp.ge.u32 %outside, %i, %count;\n"
    "    @%outside bra done;\n"
    "    cvta.to.global.u64 %a, %a;\n"
    "    mul.wide.u32 %step, %count, 4;\n"
    "    mad.wide.u32 %a, %i, 4, %a;\n"
    "    add.s64 %b, %a, %step;\n"
    "    add.s64 %c, %b, %step;\n"
    "    ld.global.f32 %x, [%a];\n"
    "    ld.global.f32 %y, [%b];\n"
    "    add.f32 %x, %x, %y;\n"
    "    st.global.f32 [%c], %x;\n"
    "done:\n"
    "    ret;\n"
    "}\n";

void vgpu_primitive_init(struct vgpu_primitive *primitive, const struct vgpu_driver *driver,
                         CUresult driver_error)
{
    *primitive = (struct vgpu_primitive){.driver = driver, .driver_error = driver_error};
}

/* The context stays for the next one, until the worker rests: to make one takes longer than any
 * primitive. */
static CUresult prepare(struct vgpu_primitive *primitive)
{
    const struct vgpu_driver *driver = primitive->driver;
    CUresult error = primitive->driver_error;
    if (error == CUDA_SUCCESS && primitive->context == NULL)
        error = driver->cuDevicePrimaryCtxRetain(&primitive->context, 0);
    if (error == CUDA_SUCCESS)
        error = driver->cuCtxSetCurrent(primitive->context);
    if (error == CUDA_SUCCESS && primitive->module == NULL)
        error = driver->cuModuleLoadDataEx(&primitive->module, vector_add_ptx, 0, NULL, NULL);
    if (error == CUDA_SUCCESS && primitive->vector_add == NULL)
        error =
            driver->cuModuleGetFunction(&primitive->vector_add, primitive->module, "vector_add");
    if (error == CUDA_SUCCESS && primitive->memory == 0)
        error = driver->cuMemAlloc(&primitive->memory, 3 * VGPU_VECTOR_ADD_MAX * sizeof(float));
    return error;
}

void vgpu_primitive_rest(struct vgpu_primitive *primitive)
{
    const struct vgpu_driver *driver = primitive->driver;
    if (primitive->context == NULL)
        return;
    if (driver->cuCtxSetCurrent(primitive->context) == CUDA_SUCCESS) {
        if (primitive->memory)
            driver->cuMemFree(primitive->memory);
        if (primitive->module)
            driver->cuModuleUnload(primitive->module);
        driver->cuCtxSetCurrent(NULL);
    }
    driver->cuDevicePrimaryCtxRelease(0);
    vgpu_primitive_init(primitive, driver, primitive->driver_error);
}

static CUresult launch(struct vgpu_primitive *primitive, uint32_t count)
{
    void *parameters[] = {&primitive->memory, &count};
    CUlaunchConfig config = {.gridDimX = 1,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = VGPU_VECTOR_ADD_MAX,
                             .blockDimY = 1,
                             .blockDimZ = 1};
    return primitive->driver->cuLaunchKernelEx(&config, primitive->vector_add, parameters, NULL);
}

static CUresult add_vectors(struct vgpu_primitive *primitive,
                            const struct vgpu_mailbox_vector_add *request, float *sum)
{
    const struct vgpu_driver *driver = primitive->driver;
    size_t bytes = request->count * sizeof(float);
    CUresult error = prepare(primitive);
    if (error == CUDA_SUCCESS)
        error = driver->cuMemcpyHtoDAsync(primitive->memory, request->operand, 2 * bytes, NULL);
    if (error == CUDA_SUCCESS)
        error = launch(primitive, request->count);
    if (error == CUDA_SUCCESS)
        error = driver->cuMemcpyDtoHAsync(sum, primitive->memory + 2 * bytes, bytes, NULL);
    if (error == CUDA_SUCCESS)
        error = driver->cuStreamSynchronize(NULL);
    driver->cuCtxSetCurrent(NULL);
    return error;
}

static void refuse(struct vgpu_worker_message *message, enum vgpu_mailbox_status status,
                   uint32_t value, const char *text)
{
    struct vgpu_mailbox_refusal refusal = {.response = {.status = status, .value = value}};
    snprintf(refusal.text, sizeof(refusal.text), "%s", text);
    memcpy(message->data, &refusal, sizeof(refusal));
    message->length = sizeof(refusal);
}

static void answer_vector_add(struct vgpu_primitive *primitive, struct vgpu_worker_message *message)
{
    struct vgpu_mailbox_vector_add request = {0};
    struct vgpu_mailbox_vector_sum answer = {0};

    if (message->length == sizeof(request))
        memcpy(&request, message->data, sizeof(request));
    if (request.count == 0 || request.count > VGPU_VECTOR_ADD_MAX) {
        refuse(message, VGPU_MAILBOX_BAD_LENGTH, 0, "VECTOR_ADD wants 1 to 120 pairs of numbers");
        return;
    }
    CUresult error = add_vectors(primitive, &request, answer.sum);
    if (error) {
        refuse(message, VGPU_MAILBOX_GPU_ERROR, error, "the driver failed to add the vectors");
        return;
    }
    answer.response.status = VGPU_MAILBOX_OK;
    answer.count = request.count;
    message->length = sizeof(answer);
    memcpy(message->data, &answer, sizeof(answer));
}

static void answer_primitive(struct vgpu_primitive *primitive, struct vgpu_worker_message *message)
{
    struct vgpu_mailbox_request request = {0};
    if (message->length >= sizeof(request))
        memcpy(&request, message->data, sizeof(request));
    if (request.op == VGPU_MAILBOX_VECTOR_ADD)
        answer_vector_add(primitive, message);
    else
        refuse(message, VGPU_MAILBOX_BAD_OP, 0, "a worker knows no such primitive");
}

static CUresult probe_identity(const struct vgpu_driver *driver, struct vgpu_worker_probe *answer)
{
    int major = 0, minor = 0, domain = 0, bus = 0, device = 0;
    const struct {
        int *value;
        CUdevice_attribute attribute;
    } wanted[] = {
        {&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR},
        {&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR},
        {&domain, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID},
        {&bus, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID},
        {&device, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID},
    };
    CUresult error = CUDA_SUCCESS;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted) && error == CUDA_SUCCESS; i++)
        error = driver->cuDeviceGetAttribute(wanted[i].value, wanted[i].attribute, 0);
    answer->capability = (uint32_t)(major * 10 + minor);
    answer->pci_domain = (uint32_t)domain;
    answer->pci_bus = (uint32_t)bus;
    answer->pci_device = (uint32_t)device;
    CUuuid uuid = {{0}};
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetUuid(&uuid, 0);
    memcpy(answer->uuid, uuid.bytes, sizeof(answer->uuid));
    return error;
}

static CUresult probe(const struct vgpu_driver *driver, struct vgpu_worker_probe *answer)
{
    int version = 0, count = 0;
    size_t memory = 0;
    CUresult error = driver->cuDriverGetVersion(&version);
    answer->driver_version = (uint32_t)version;
    answer->is_software = driver->is_software;
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetCount(&count);
    answer->device_count = (uint32_t)count;
    if (error == CUDA_SUCCESS && count == 0)
        error = CUDA_ERROR_NO_DEVICE;
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceGetName(answer->gpu, sizeof(answer->gpu), 0);
    if (error == CUDA_SUCCESS)
        error = driver->cuDeviceTotalMem(&memory, 0);
    answer->memory_total = memory;
    return error ? error : probe_identity(driver, answer);
}

static void answer_probe(struct vgpu_primitive *primitive, struct vgpu_worker_message *message)
{
    struct vgpu_worker_probe answer = {.result = primitive->driver_error};
    if (answer.result == CUDA_SUCCESS)
        answer.result = probe(primitive->driver, &answer);
    memcpy(message->data, &answer, sizeof(answer));
    message->length = sizeof(answer);
}

bool vgpu_primitive_answer(struct vgpu_primitive *primitive, struct vgpu_worker_message *message)
{
    if (message->op == VGPU_WORKER_PROBE)
        answer_probe(primitive, message);
    else if (message->op == VGPU_WORKER_PRIMITIVE)
        answer_primitive(primitive, message);
    else
        return false;
    return true;
}

bool vgpu_primitive_serve(struct vgpu_primitive *primitive, int socket)
{
    struct vgpu_worker_message message;
    const size_t head = offsetof(struct vgpu_worker_message, data);
    for (;;) {
        memset(&message, 0, sizeof(message));
        ssize_t got = recv(socket, &message, sizeof(message), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (got <= 0)
            return false; /* hung up */
        if ((size_t)got >= head && message.op == VGPU_WORKER_LEASE)
            continue; /* it has woken us, which is all that it is for */
        if ((size_t)got < head || message.length > (size_t)got - head ||
            !vgpu_primitive_answer(primitive, &message)) {
            vgpu_log("the mediator sent no message that a worker knows");
            return false;
        }
        if (send(socket, &message, head + message.length, MSG_NOSIGNAL) < 0)
            return false;
    }
}
