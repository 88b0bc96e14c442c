/* SPDX-License-Identifier: MIT */
#ifndef VGPU_TESTS_CUDA_SEPARATE_H
#define VGPU_TESTS_CUDA_SEPARATE_H

typedef int (*transform)(int);
extern __device__ int twice(int x);
extern __device__ int defined_there, defined_here;
extern __device__ transform twice_by_pointer;
extern __constant__ float factor[2];
void launch_other(int *out);

#endif
