/* SPDX-License-Identifier: MIT */
/** A kernel that runs until a copy tells it to end, a few times: whoever bounds what is in flight
 * must let that copy through. Status 1 if anything fails. */
#include "tests/check.h"

enum { TIMES = 3 };

static const char kernel[] = ".version 7.0\n"
                             ".target sm_50\n"
                             ".address_size 64\n"
                             ".visible .entry wait_for(.param .u64 flag)\n"
                             "{\n"
                             "    .reg .u64 %a;\n"
                             "    .reg .u32 %v;\n"
                             "    .reg .pred %p;\n"
                             "    ld.param.u64 %a, [flag];\n"
                             "again:\n"
                             "    ld.volatile.global.u32 %v, [%a];\n"
                             "    setp.eq.u32 %p, %v, 0;\n"
                             "    @%p bra again;\n"
                             "    ret;\n"
                             "}\n";

int main(void)
{
    unsigned int one = 1;
    CUmodule module;
    CUstream streams[2];

    check_context();
    CHECK(cuModuleLoadData(&module, kernel));
    CUfunction function = check_function(module, "wait_for");
    CUdeviceptr flag = check_memory(sizeof(one));
    void *parameters[] = {&flag};
    for (int i = 0; i < 2; i++)
        CHECK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < TIMES; i++) {
        CHECK(cuMemsetD32(flag, 0, 1));
        CHECK(cuCtxSynchronize());
        CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, streams[0], parameters, NULL));
        CHECK(cuMemcpyHtoDAsync(flag, &one, sizeof(one), streams[1]));
        CHECK(cuStreamSynchronize(streams[0]));
    }
    puts("all ended");
    return 0;
}
