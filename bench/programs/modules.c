/* SPDX-License-Identifier: MIT */
/** How long does it take to load code that nobody has loaded before, and code that somebody has? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/programs/bench.h"

static struct bench bench;

/* The kernels' text, different from all that was ever loaded: a function's name is unique. */
static char *unique_text(void)
{
    static unsigned int number;
    size_t bytes = strlen(bench_kernels) + 256;
    char *text = bench_allocate(bytes);
    snprintf(text, bytes, "%s\n.visible .entry own_%d_%llu_%u()\n{\n\tret;\n}\n", bench_kernels,
             (int)getpid(), (unsigned long long)bench_now(), number++);
    return text;
}

/* The time until a function of the image is known. */
static void load(struct bench_samples *samples, const void *image)
{
    CUmodule module;
    CUfunction function;
    uint64_t start = bench_now();
    BENCH(cuModuleLoadData(&module, image));
    BENCH(cuModuleGetFunction(&function, module, "empty"));
    bench_add(samples, start, 1);
    BENCH(cuModuleUnload(module));
}

static void *make_cubin(char *text)
{
    CUlinkState link;
    void *image;
    size_t bytes;
    BENCH(cuLinkCreate(0, NULL, NULL, &link));
    BENCH(cuLinkAddData(link, CU_JIT_INPUT_PTX, text, strlen(text) + 1, "kernels", 0, NULL, NULL));
    BENCH(cuLinkComplete(link, &image, &bytes));
    void *copy = bench_allocate(bytes);
    memcpy(copy, image, bytes);
    BENCH(cuLinkDestroy(link));
    return copy;
}

int main(int argc, char **argv)
{
    static struct bench_samples ptx_cold, ptx_warm, cubin_cold, cubin_warm;
    bench_begin(&bench, argc, argv);
    for (unsigned int turn = 0; turn < bench_times(&bench, 15, 3); turn++) {
        char *text = unique_text();
        load(&ptx_cold, text);
        load(&ptx_warm, text);
        free(text);
        text = unique_text();
        void *cubin = make_cubin(text);
        load(&cubin_cold, cubin);
        load(&cubin_warm, cubin);
        free(cubin);
        free(text);
    }
    bench_print(&ptx_cold, "ms", 1, "module.ptx.cold");
    bench_print(&ptx_warm, "ms", 1, "module.ptx.warm");
    bench_print(&cubin_cold, "ms", 1, "module.cubin.cold");
    bench_print(&cubin_warm, "ms", 1, "module.cubin.warm");
    return 0;
}
