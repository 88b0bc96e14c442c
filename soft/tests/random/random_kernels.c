/* SPDX-License-Identifier: MIT */
/*
 * Runs random kernels on the device that libcuda.so.1 has, and compares what they leave with what
 * they should: with an evaluation of what they are made of, or with the hashes of another device.
 * They are shared out among processes, so that one that the driver or a kernel brings down costs
 * one kernel, which is named.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "soft/tests/random/device.h"

#define MOST_PROCESSES 64
#define MOST_BROKEN    100 /* kernels, after which it is no use to go on */
#define HANGS          30  /* seconds after which a kernel will not end any more */
#define LARGEST_COUNT  10000000

enum outcome { NOT_YET, SAME, DIFFERENT, FAILED };

struct outcome_of_kernel {
    uint64_t hash;
    enum outcome outcome;
};

/* What the processes have in common. */
struct shared {
    _Atomic uint32_t next; /* kernel, from 0; relaxed: each number is taken once, that is all */
    struct {
        /* Relaxed: the parent reads them when the process is gone, or to find out whether it
           hangs. */
        _Atomic uint32_t kernel; /* under way, from 1; 0: none */
        _Atomic int64_t since;
    } processes[MOST_PROCESSES];
    char device[160];
    struct outcome_of_kernel kernels[]; /* each written by the process that took its number */
};

struct run {
    uint32_t input[INPUT_WORDS];
    uint64_t seed;
    uint32_t first, count, processes;
    bool only_evaluate, check, together;
    const struct outcome_of_kernel *expected; /* from kernel 0 on; NULL: none */
    uint32_t expected_count;
    struct shared *shared;
    pid_t pids[MOST_PROCESSES]; /* 0: none */
    uint32_t broken;
};

/* ---- kernels ---- */

/* The kernel of a number, and what it computes; those that would take too long are passed over. */
static struct kernel *make(const struct run *r, uint32_t index, struct results *results)
{
    uint64_t series = r->seed ^ (uint64_t)index << 32;

    for (;;) {
        struct kernel *kernel = kernel_grow(series_next(&series));

        if (kernel == NULL || results_create(kernel, results) != 0) {
            kernel_destroy(kernel);
            return NULL;
        }
        if (kernel_evaluate(kernel, r->input, results) == 0)
            return kernel;
        results_destroy(results);
        kernel_destroy(kernel);
    }
}

static void say_difference(const struct kernel *k, uint32_t index, const struct results *got,
                           const struct results *want)
{
    size_t threads = (size_t)k->grid * k->block[0] * k->block[1], size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return;
    fprintf(out, "kernel %u differs: grid %u, block %u x %u\n", index, k->grid, k->block[0],
            k->block[1]);
    for (size_t n = 0, said = 0; n < threads * ROW_WORDS && said < 8; n++) {
        if (got->rows[n] == want->rows[n])
            continue;
        fprintf(out, "  thread %zu, word %zu: %08" PRIx32 ", not %08" PRIx32 "\n", n / ROW_WORDS,
                n % ROW_WORDS, got->rows[n], want->rows[n]);
        said++;
    }
    for (size_t n = 0; n < CELL_COUNT; n++) {
        if (got->cells[n] != want->cells[n])
            fprintf(out, "  cell %zu: %016" PRIx64 ", not %016" PRIx64 "\n", n, got->cells[n],
                    want->cells[n]);
    }
    if (memcmp(got->own, want->own, got->own_bytes) != 0)
        fprintf(out, "  threads' own memory\n");
    fclose(out);
    /* Other processes write, too. */
    fprintf(stderr, "%s", text);
    free(text);
}

/* Runs one kernel; false if this process can run no more. */
static bool one(const struct run *r, struct device *device, uint32_t index)
{
    struct outcome_of_kernel *outcome = &r->shared->kernels[index - r->first];
    const struct outcome_of_kernel *expected = r->expected == NULL ? NULL : &r->expected[index];
    struct results want, got;
    struct kernel *k = make(r, index, &want);
    enum ran ran = RAN;
    bool same = true;

    if (k == NULL) {
        fprintf(stderr, "kernel %u: no memory\n", index);
        return false;
    }
    outcome->outcome = FAILED;
    if (r->only_evaluate) {
        outcome->hash = results_hash(&want);
    } else if (results_create(k, &got) != 0) {
        ran = BROKEN;
    } else {
        ran = device_run(device, index, k, r->together, &got);
        outcome->hash = results_hash(&got);
        same = !r->check || outcome->hash == results_hash(&want);
    }
    if (expected != NULL && expected->outcome == SAME)
        same &= outcome->hash == expected->hash;
    if (ran == RAN) {
        outcome->outcome = same ? SAME : DIFFERENT;
        if (!same && !r->only_evaluate)
            say_difference(k, index, &got, &want);
    }
    if (!r->only_evaluate)
        results_destroy(&got);
    results_destroy(&want);
    kernel_destroy(k);
    return ran != BROKEN;
}

/* ---- processes ---- */

static int work(const struct run *r, uint32_t number)
{
    struct device *device = r->only_evaluate ? NULL : device_open(r->input);

    if (!r->only_evaluate && device == NULL)
        return 1;
    if (device != NULL && number == 0)
        device_describe(device, r->shared->device, sizeof(r->shared->device));
    for (;;) {
        uint32_t n = atomic_fetch_add_explicit(&r->shared->next, 1, memory_order_relaxed);

        if (n >= r->count)
            return 0;
        atomic_store_explicit(&r->shared->processes[number].since, time(NULL),
                              memory_order_relaxed);
        atomic_store_explicit(&r->shared->processes[number].kernel, n + 1, memory_order_relaxed);
        if (!one(r, device, r->first + n))
            return 1;
        atomic_store_explicit(&r->shared->processes[number].kernel, 0, memory_order_relaxed);
    }
}

static bool start(struct run *r, uint32_t number)
{
    pid_t pid;

    atomic_store_explicit(&r->shared->processes[number].kernel, 0, memory_order_relaxed);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(work(r, number));
    r->pids[number] = pid > 0 ? pid : 0;
    if (pid < 0)
        fprintf(stderr, "no process: %s\n", strerror(errno));
    return pid > 0;
}

/* A process has ended; another takes its place unless the work is done, or hopeless. */
static void ended(struct run *r, uint32_t number, int status)
{
    uint32_t kernel =
        atomic_load_explicit(&r->shared->processes[number].kernel, memory_order_relaxed);

    r->pids[number] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (kernel == 0) {
        fprintf(stderr, "a process could not use the device\n");
        return;
    }
    r->shared->kernels[kernel - 1].outcome = FAILED;
    if (WIFSIGNALED(status))
        fprintf(stderr, "kernel %u: its process died of signal %d (%s)\n", r->first + kernel - 1,
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (++r->broken < MOST_BROKEN)
        start(r, number);
    else if (r->broken == MOST_BROKEN)
        fprintf(stderr, "%d kernels have failed: no more are started\n", MOST_BROKEN);
}

static void end_what_hangs(const struct run *r)
{
    for (uint32_t n = 0; n < r->processes; n++) {
        uint32_t kernel =
            atomic_load_explicit(&r->shared->processes[n].kernel, memory_order_relaxed);
        int64_t since = atomic_load_explicit(&r->shared->processes[n].since, memory_order_relaxed);

        if (r->pids[n] != 0 && kernel != 0 && time(NULL) - since > HANGS) {
            fprintf(stderr, "kernel %u hangs\n", r->first + kernel - 1);
            kill(r->pids[n], SIGKILL);
        }
    }
}

static void run_all(struct run *r)
{
    const struct timespec moment = {0, 20000000};
    bool left = true;

    for (uint32_t n = 0; n < r->processes; n++)
        start(r, n);
    while (left) {
        int status;

        left = false;
        for (uint32_t n = 0; n < r->processes; n++) {
            if (r->pids[n] != 0 && waitpid(r->pids[n], &status, WNOHANG) == r->pids[n])
                ended(r, n, status);
            left |= r->pids[n] != 0;
        }
        end_what_hangs(r);
        nanosleep(&moment, NULL);
    }
}

/* ---- the program ---- */

/* Lines of a number and a hash, or "failed"; lines that start with # say where they are from. */
static bool read_expected(struct run *r, const char *path)
{
    FILE *file = fopen(path, "r");
    struct outcome_of_kernel *kernels = calloc(LARGEST_COUNT, sizeof(*kernels));
    char line[256];
    unsigned index;

    while (file != NULL && kernels != NULL && fgets(line, sizeof(line), file) != NULL) {
        uint64_t hash = 0;
        char word[32];

        if (line[0] == '#')
            continue;
        if (sscanf(line, "%u %31s", &index, word) != 2 || index != r->expected_count ||
            index >= LARGEST_COUNT ||
            (strcmp(word, "failed") != 0 && sscanf(word, "%" SCNx64, &hash) != 1)) {
            fprintf(stderr, "%s: not understood: %s", path, line);
            break;
        }
        kernels[r->expected_count++] = (struct outcome_of_kernel){
            .hash = hash, .outcome = strcmp(word, "failed") == 0 ? FAILED : SAME};
    }
    if (file != NULL)
        fclose(file);
    r->expected = kernels;
    return r->expected_count > 0;
}

static bool number_of(const char *text, uint64_t most, uint64_t *number)
{
    char *end;

    *number = strtoull(text, &end, 0);
    return *text != '\0' && *end == '\0' && *number <= most;
}

static int print_kernel(const struct run *r)
{
    struct results results;
    struct kernel *k = make(r, r->first, &results);
    char *text = k == NULL ? NULL : kernel_text(k, r->together);

    if (text == NULL)
        return 1;
    printf("%s", text);
    free(text);
    results_destroy(&results);
    kernel_destroy(k);
    return 0;
}

/* What has come out; the program's result. */
static int report(const struct run *r, bool quiet)
{
    uint32_t counts[FAILED + 1] = {0};
    time_t now = time(NULL);
    char date[32];

    strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
    if (!quiet)
        printf("# seed %" PRIu64 ", %s, %s\n", r->seed,
               r->only_evaluate ? "evaluated" : r->shared->device, date);
    for (uint32_t n = 0; n < r->count; n++) {
        const struct outcome_of_kernel *kernel = &r->shared->kernels[n];

        counts[kernel->outcome]++;
        if (!quiet && (kernel->outcome == SAME || kernel->outcome == DIFFERENT))
            printf("%u %016" PRIx64 "\n", r->first + n, kernel->hash);
        else if (!quiet)
            printf("%u failed\n", r->first + n);
    }
    fprintf(stderr, "%s: %u kernels, %u differ, %u failed, %u not run\n",
            r->only_evaluate ? "evaluation" : r->shared->device, r->count, counts[DIFFERENT],
            counts[FAILED], counts[NOT_YET]);
    return counts[SAME] != r->count;
}

static int usage(const char *program)
{
    fprintf(
        stderr,
        "usage: %s [--seed S] [--first F] [--count N] [--processes P] [--expected FILE]\n"
        "          [--evaluate] [--no-check] [--quiet] [--apart] [--print]\n"
        "Writes a line with number and hash for each kernel. Fails if one does not leave what\n"
        "was evaluated, or what FILE says (lines as written, from kernel 0 on).\n"
        "  --evaluate  no device: the hashes of the evaluation\n"
        "  --no-check  the evaluation does not count\n"
        "  --quiet     no hashes\n"
        "  --apart     lanes are not brought together by bar.warp.sync, which ptxas 13.0 needs;\n"
        "              what a kernel leaves is the same\n"
        "  --print     the PTX of kernel F, and nothing else\n",
        program);
    return 2;
}

static bool create_shared(struct run *r)
{
    size_t size = sizeof(*r->shared) + (size_t)r->count * sizeof(r->shared->kernels[0]);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        perror("memory");
        return false;
    }
    r->shared = memory;
    return true;
}

int main(int count, char **arguments)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"processes", required_argument, NULL, 't'},
                                            {"expected", required_argument, NULL, 'x'},
                                            {"evaluate", no_argument, NULL, 'e'},
                                            {"no-check", no_argument, NULL, 'c'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"print", no_argument, NULL, 'p'},
                                            {"apart", no_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    static struct run r = {
        .seed = 1, .count = 100, .processes = 2, .check = true, .together = true};
    bool quiet = false, print = false;
    uint64_t number = 0, series;
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        if (optarg != NULL && option != 'x' &&
            !number_of(optarg, option == 's' ? UINT64_MAX : LARGEST_COUNT, &number))
            return usage(arguments[0]);
        if (option == 's')
            r.seed = number;
        else if (option == 'f')
            r.first = (uint32_t)number;
        else if (option == 'n')
            r.count = (uint32_t)number;
        else if (option == 't' && number > 0 && number <= MOST_PROCESSES)
            r.processes = (uint32_t)number;
        else if (option == 'x' && read_expected(&r, optarg))
            continue;
        else if (option == 'e')
            r.only_evaluate = true;
        else if (option == 'c')
            r.check = false;
        else if (option == 'q')
            quiet = true;
        else if (option == 'p')
            print = true;
        else if (option == 'a')
            r.together = false;
        else
            return usage(arguments[0]);
    }
    series = r.seed;
    for (uint32_t n = 0; n < INPUT_WORDS; n++)
        r.input[n] = (uint32_t)(series_next(&series) >> (n % 4 == 0 ? 56 : 32));
    if (print)
        return print_kernel(&r);
    if (r.expected != NULL && r.first + r.count > r.expected_count)
        r.count = r.first < r.expected_count ? r.expected_count - r.first : 0;
    if (!create_shared(&r))
        return 1;
    run_all(&r);
    return report(&r, quiet);
}
