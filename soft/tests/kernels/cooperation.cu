/* SPDX-License-Identifier: MIT */
/* Threads that work together: shuffles, votes, atomics, locks. */
extern "C" __global__ void sum_blocks(const float *in, float *out, int n)
{
    __shared__ float partial[32];
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float v = i < n ? in[i] : 0;
    for (int offset = 16; offset > 0; offset /= 2)
        v += __shfl_down_sync(0xffffffff, v, offset);
    if (lane == 0)
        partial[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = lane < blockDim.x / 32 ? partial[lane] : 0;
        for (int offset = 16; offset > 0; offset /= 2)
            v += __shfl_down_sync(0xffffffff, v, offset);
        if (lane == 0)
            atomicAdd(out, v);
    }
}

extern "C" __global__ void histogram(const unsigned char *data, unsigned *bins, int n)
{
    __shared__ unsigned local[256];
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        local[k] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[data[i]], 1);
    __syncthreads();
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        atomicAdd(&bins[k], local[k]);
}

extern "C" __global__ void votes(const int *in, unsigned *out)
{
    int i = threadIdx.x, v = in[i];
    unsigned r[6] = {0, 0, 0, 0, 0, 0};
    if (v & 1) {
        r[0] = __activemask();
        r[1] = __ballot_sync(r[0], v > 50);
        r[2] = __any_sync(r[0], v > 90) * 2 + __all_sync(r[0], v > 3);
        r[3] = __match_any_sync(r[0], v % 5);
        r[4] = __shfl_xor_sync(r[0], v, 2);
    } else {
        r[1] = __ballot_sync(__activemask(), v > 20);
        r[5] = __popc(__match_any_sync(__activemask(), v));
    }
    for (int k = 0; k < 6; k++)
        out[i * 6 + k] = r[k];
}

/* Lanes of one warp compete for a lock: the one that has it must be let go on. */
extern "C" __global__ void spin_lock(int *lock, int *total)
{
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            *(volatile int *)total += 1 + (threadIdx.x & 1);
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}

/* A lock that waits in the loop's head, without an end common to all lanes. */
extern "C" __global__ void hard_lock(int *lock, int *total)
{
    while (atomicCAS(lock, 0, 1) != 0)
        ;
    *(volatile int *)total += 1;
    __threadfence();
    atomicExch(lock, 0);
}

extern "C" __global__ void divergent_barrier(int *out)
{
    __shared__ int value[64];
    int i = threadIdx.x;
    value[i] = 0;
    if (i >= 60)
        return;
    if (i % 2 == 0) {
        value[i] = i;
        __syncthreads();
        out[i] = value[(i + 1) % 60];
    } else {
        value[i] = 1000 + i;
        __syncthreads();
        out[i] = value[(i + 1) % 60];
    }
}

extern "C" __global__ void barrier_reductions(const int *in, int *out)
{
    int i = threadIdx.x, v = in[i];
    out[i] = __syncthreads_count(v > 10) * 4 + __syncthreads_and(v >= 0) * 2 + __syncthreads_or(v == 77);
}

extern "C" __global__ void warp_sync(int *out)
{
    __shared__ volatile int box[32];
    int i = threadIdx.x;
    box[i] = -1;
    __syncwarp();
    if (i < 16) {
        box[i] = i;
        __syncwarp();
        out[i] = box[i + 16];
    } else {
        box[i] = 100 + i;
        __syncwarp();
        out[i] = box[i - 16];
    }
}
