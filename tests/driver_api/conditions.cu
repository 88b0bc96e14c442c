/* SPDX-License-Identifier: MIT */
/* Device code that decides what a graph runs; scripts/ptx makes conditions.ptx of it. */

extern "C" __global__ void set_condition(cudaGraphConditionalHandle handle,
                                         const unsigned int *value)
{
    cudaGraphSetConditional(handle, *value);
}

/* Counts down, and the condition is what is left. */
extern "C" __global__ void count_down(cudaGraphConditionalHandle handle, unsigned int *counter)
{
    *counter -= 1;
    cudaGraphSetConditional(handle, *counter);
}
