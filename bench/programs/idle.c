/* SPDX-License-Identifier: MIT */
/** A program that works and then is idle for BENCH_IDLE seconds: what does that cost the host? */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/programs/bench.h"

int main(int argc, char **argv)
{
    const char *text = getenv("BENCH_IDLE");
    struct bench bench;
    struct timespec cpu[2];
    bench_begin(&bench, argc, argv);
    struct timespec seconds = {.tv_sec = text ? atoi(text) : 1};
    /* The worker that will take the place of ours in reserve starts now: another question. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    printf("idle\n"); /* bench/run looks at the worker between these lines */
    fflush(stdout);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu[0]);
    nanosleep(&seconds, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu[1]);
    double used = (double)(cpu[1].tv_sec - cpu[0].tv_sec) * 1e3 +
                  (double)(cpu[1].tv_nsec - cpu[0].tv_nsec) / 1e6;
    printf("idle.program_cpu %.6g ms/s\n", used / (double)seconds.tv_sec);
    fflush(stdout);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* the worker ends with us */
    return 0;
}
