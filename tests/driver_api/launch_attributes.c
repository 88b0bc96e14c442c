/* SPDX-License-Identifier: MIT */
/* What a launch can be told beside its shape. */
#include <string.h>

#include "tests/driver_api/check.h"

enum { WORDS = 1024 };

static CUfunction fill;

static CUresult launch(CUdeviceptr memory, unsigned int value, CUlaunchAttribute *attributes,
                       unsigned int count, CUstream stream)
{
    int words = WORDS;
    void *parameters[] = {&memory, &value, &words};
    CUlaunchConfig config = {.gridDimX = WORDS / 128,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 128,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .hStream = stream,
                             .attrs = attributes,
                             .numAttrs = count};
    return cuLaunchKernelEx(&config, fill, parameters, NULL);
}

static void expect_words(CUdeviceptr memory, unsigned int value)
{
    unsigned int words[WORDS];
    CHECK(cuMemcpyDtoH(words, memory, sizeof(words)));
    EXPECT(words[0] == value && words[WORDS - 1] == value + WORDS - 1);
}

/* Hints change nothing that can be seen. */
static void test_hints(CUdeviceptr memory, CUstream stream)
{
    CUlaunchAttribute attributes[5];
    memset(attributes, 0, sizeof(attributes));
    attributes[0].id = CU_LAUNCH_ATTRIBUTE_IGNORE;
    attributes[1].id = CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW;
    attributes[1].value.accessPolicyWindow = (CUaccessPolicyWindow){
        .base_ptr = (void *)memory,
        .num_bytes = WORDS * 4,
        .hitRatio = 1.0f,
        .hitProp = CU_ACCESS_PROPERTY_PERSISTING,
        .missProp = CU_ACCESS_PROPERTY_STREAMING,
    };
    attributes[2].id = CU_LAUNCH_ATTRIBUTE_PRIORITY;
    attributes[2].value.priority = -1;
    attributes[3].id = CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN;
    attributes[3].value.memSyncDomain = CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE;
    attributes[4].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attributes[4].value.programmaticStreamSerializationAllowed = 1;
    CHECK(launch(memory, 7, attributes, 5, stream));
    CHECK(cuStreamSynchronize(stream));
    expect_words(memory, 7);
}

/* The launch records an event, which others wait for. */
static void test_events(CUdeviceptr memory, CUstream stream, CUlaunchAttributeID id)
{
    CUlaunchAttribute attribute;
    CUevent event, timed;
    CUstream other;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventCreate(&timed, CU_EVENT_DEFAULT));
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    memset(&attribute, 0, sizeof(attribute));
    attribute.id = id;
    attribute.value.programmaticEvent.event = event;
    for (unsigned int i = 0; i < 10; i++) {
        CHECK(launch(memory, 20 + i, &attribute, 1, stream));
        CHECK(cuStreamWaitEvent(other, event, 0));
        CHECK(cuEventSynchronize(event));
        EXPECT(cuEventQuery(event) == CUDA_SUCCESS);
        CHECK(cuStreamSynchronize(other));
        CHECK(cuStreamSynchronize(stream));
        expect_words(memory, 20 + i);
    }
    attribute.value.programmaticEvent.event = NULL;
    EXPECT(launch(memory, 1, &attribute, 1, stream) == CUDA_ERROR_INVALID_HANDLE);
    attribute.value.programmaticEvent.event = timed;
    EXPECT(launch(memory, 1, &attribute, 1, stream) == CUDA_ERROR_NOT_SUPPORTED);
    CHECK(cuStreamDestroy(other));
    CHECK(cuEventDestroy(event));
    CHECK(cuEventDestroy(timed));
}

static void test_what_is_not_for_launches(CUdeviceptr memory, CUstream stream)
{
    CUlaunchAttribute attribute;
    memset(&attribute, 0, sizeof(attribute));
    attribute.id = CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY;
    attribute.value.syncPolicy = CU_SYNC_POLICY_AUTO;
    EXPECT(launch(memory, 1, &attribute, 1, stream) == CUDA_ERROR_INVALID_VALUE);
    attribute.id = (CUlaunchAttributeID)55;
    EXPECT(launch(memory, 1, &attribute, 1, stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
}

/* Events of a whole context. */
static void test_context_events(CUcontext context, CUdeviceptr memory, CUstream stream)
{
    CUevent event;
    CUstream other;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CHECK(launch(memory, 70, NULL, 0, stream));
    CHECK(launch(memory, 70, NULL, 0, other));
    CHECK(cuCtxRecordEvent(context, event));
    CHECK(cuCtxWaitEvent(context, event));
    CHECK(cuEventSynchronize(event));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuStreamSynchronize(other));
    expect_words(memory, 70);
    CHECK(cuStreamDestroy(other));
    CHECK(cuEventDestroy(event));
}

int main(void)
{
    CUcontext context = check_context();
    CUstream stream;
    CUmodule module = check_module();
    fill = check_function(module, "fill");
    CUdeviceptr memory = check_memory(WORDS * 4);
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    test_hints(memory, stream);
    test_events(memory, stream, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT);
    test_events(memory, stream, CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT);
    test_what_is_not_for_launches(memory, stream);
    test_context_events(context, memory, stream);
    return 0;
}
