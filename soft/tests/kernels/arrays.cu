/* SPDX-License-Identifier: MIT */
/* Kernels on arrays: memory spaces, tiling, vectors, structures. */
extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        c[i] = a[i] + b[i];
}

extern "C" __global__ void matrix_multiply(const float *a, const float *b, float *c, int n)
{
    __shared__ float ta[16][16], tb[16][16];
    int x = threadIdx.x % 16, y = threadIdx.x / 16;
    int row = blockIdx.x / (n / 16) * 16 + y, column = blockIdx.x % (n / 16) * 16 + x;
    float sum = 0;
    for (int t = 0; t < n; t += 16) {
        ta[y][x] = a[row * n + t + x];
        tb[y][x] = b[(t + y) * n + column];
        __syncthreads();
        for (int k = 0; k < 16; k++)
            sum += ta[y][k] * tb[k][x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

extern "C" __global__ void reverse_blocks(int *data)
{
    extern __shared__ int space[];
    int *base = data + blockIdx.x * blockDim.x;
    space[threadIdx.x] = base[threadIdx.x];
    __syncthreads();
    base[threadIdx.x] = space[blockDim.x - 1 - threadIdx.x];
}

struct settings {
    char kind;
    double scale;
    short offsets[3];
    int n;
};

extern "C" __global__ void apply(struct settings s, double *data)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < s.n)
        data[i] = data[i] * s.scale + s.offsets[i % 3] + s.kind;
}

extern "C" __global__ void swizzle(const float4 *in, float4 *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        float4 v = in[i];
        out[i] = make_float4(v.w, v.z * 2, v.y, v.x + v.w);
    }
}

/* A local array that is indexed by what is read: it stays in local memory. */
extern "C" __global__ void shuffle_local(const int *order, int *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, local[16];
    for (int k = 0; k < 16; k++)
        local[k] = i * 100 + k;
    for (int k = 0; k < 16; k++) {
        int from = order[k], t = local[from & 15];
        local[from & 15] = local[(k * 7 + i) & 15];
        local[(k * 7 + i) & 15] = t;
    }
    int sum = 0;
    for (int k = 0; k < 16; k++)
        sum = sum * 31 + local[k];
    out[i] = sum;
}

__constant__ int table[4] = {3, 1, 4, 1};
__device__ int counter = 40;
__device__ int *pointer = &counter;
__device__ const char *const names[2] = {"even", "odd"};

extern "C" __global__ void globals(int *out)
{
    int i = threadIdx.x;
    out[i] = table[i & 3] + names[i & 1][0];
    if (i == 0)
        *pointer += 2;
}

/* One pointer that is sometimes to shared memory, sometimes to global, sometimes to local. */
extern "C" __global__ void any_space(int *data, int *out)
{
    __shared__ int shared[32];
    int local[2] = {1000 + (int)threadIdx.x, data[1]};
    int i = threadIdx.x, *p;
    shared[i] = 2000 + i;
    __syncthreads();
    p = i % 3 == 0 ? &data[i] : i % 3 == 1 ? &shared[31 - i] : &local[data[0] & 1];
    *p += 5;
    __syncthreads();
    out[i] = *p + shared[i] * 10000;
}
