/* SPDX-License-Identifier: MIT */
/** A stream waits for the program, for a value or for a function to return, which both come when
 *  another stream has done all that it was given: whoever bounds what is in flight must not count
 *  what waits. Status 1 if anything fails. */
#include <unistd.h>

#include "tests/check.h"
#include "tests/faults/add_one.h"

enum { ROUNDS = 10, LAUNCHES = 200 };

static unsigned int *gate; /* page-locked; how many rounds are over */

static void CUDA_CB await_gate(void *round)
{
    while (__atomic_load_n(gate, __ATOMIC_ACQUIRE) < *(const unsigned int *)round)
        usleep(100);
}

int main(void)
{
    CUstream waits, works;
    CUdeviceptr address;
    unsigned int counted = 0;

    check_context();
    CUmodule module;
    CHECK(cuModuleLoadData(&module, add_one_ptx));
    CUfunction add_one = check_function(module, "add_one");
    CUdeviceptr counter = check_memory(sizeof(counted));
    void *parameters[] = {&counter};
    CHECK(cuMemsetD32(counter, 0, 1));
    CHECK(cuMemHostAlloc((void **)&gate, sizeof(*gate), 0));
    CHECK(cuMemHostGetDevicePointer(&address, gate, 0));
    CHECK(cuStreamCreate(&waits, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&works, CU_STREAM_NON_BLOCKING));
    *gate = 0;
    for (unsigned int round = 1; round <= ROUNDS; round++) {
        if (round % 2)
            CHECK(cuStreamWaitValue32(waits, address, round, CU_STREAM_WAIT_VALUE_GEQ));
        else
            CHECK(cuLaunchHostFunc(waits, await_gate, &round));
        CHECK(cuLaunchKernel(add_one, 1, 1, 1, 1, 1, 1, 0, waits, parameters, NULL));
        for (int i = 0; i < LAUNCHES; i++)
            CHECK(cuLaunchKernel(add_one, 1, 1, 1, 1, 1, 1, 0, works, parameters, NULL));
        CHECK(cuStreamSynchronize(works));
        CHECK(cuMemcpyDtoH(&counted, counter, sizeof(counted)));
        EXPECT(counted == round * (LAUNCHES + 1) - 1);
        __atomic_store_n(gate, round, __ATOMIC_RELEASE);
        CHECK(cuStreamSynchronize(waits));
    }
    puts("all ended");
    return 0;
}
