// SPDX-License-Identifier: MIT
// A module that prints, apart from those that do not. printing.ptx is made by `make kernels`.
#include <stdio.h>

extern "C" __global__ void say(int number)
{
    printf("device says %d\n", number);
}
