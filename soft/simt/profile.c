/* SPDX-License-Identifier: MIT */
#include "soft/simt/profile.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    struct row *next;
    char *kernel;
    uint64_t launches;
    double seconds;
    struct vgpu_counts counts;
};

/* The one table of the process. */
static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    bool wanted;
    struct row *first; /* under the lock */
} table = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static int by_time(const void *a, const void *b)
{
    double first = (*(const struct row *const *)a)->seconds;
    double second = (*(const struct row *const *)b)->seconds;

    return (first < second) - (first > second);
}

static void print_row(const struct row *row)
{
    double seconds = row->seconds > 0 ? row->seconds : 1e-9;

    fprintf(stderr, "%-40.40s %9llu %11llu %15llu %9.0f %11.3f %8.1f %8.2f\n", row->kernel,
            (unsigned long long)row->launches, (unsigned long long)row->counts.warps,
            (unsigned long long)row->counts.instructions,
            row->counts.instructions > 0
                ? 100.0 * (double)row->counts.compiled / (double)row->counts.instructions
                : 0.0,
            row->seconds * 1e3, (double)row->counts.instructions / seconds * 1e-6,
            (double)row->counts.bytes / seconds * 1e-9);
}

static void print_table(void)
{
    struct row **rows;
    size_t count = 0, n = 0;

    pthread_mutex_lock(&table.lock);
    for (struct row *row = table.first; row != NULL; row = row->next)
        count++;
    rows = calloc(count + 1, sizeof(struct row *));
    for (struct row *row = table.first; row != NULL && rows != NULL; row = row->next)
        rows[n++] = row;
    if (n > 0) {
        qsort(rows, n, sizeof(struct row *), by_time);
        fprintf(stderr, "%-40s %9s %11s %15s %9s %11s %8s %8s\n", "kernel", "launches", "warps",
                "instructions", "compiled%", "ms", "M/s", "GB/s");
    }
    for (size_t i = 0; i < n; i++)
        print_row(rows[i]);
    free(rows);
    pthread_mutex_unlock(&table.lock);
}

static void read_environment(void)
{
    const char *value = getenv("VGPU_SOFT_PROFILE");

    table.wanted = value != NULL && strcmp(value, "0") != 0 && *value != '\0';
    if (table.wanted)
        atexit(print_table);
}

bool vgpu_profile_wanted(void)
{
    pthread_once(&table.once, read_environment);
    return table.wanted;
}

/* With the lock held; NULL when out of memory. */
static struct row *row_of_kernel(const char *kernel)
{
    struct row *row = table.first;

    while (row != NULL && strcmp(row->kernel, kernel) != 0)
        row = row->next;
    if (row != NULL)
        return row;
    row = calloc(1, sizeof(*row));
    if (row == NULL)
        return NULL;
    row->kernel = strdup(kernel);
    if (row->kernel == NULL) {
        free(row);
        return NULL;
    }
    row->next = table.first;
    table.first = row;
    return row;
}

void vgpu_profile_launch(const char *kernel, double seconds)
{
    struct row *row;

    pthread_mutex_lock(&table.lock);
    row = row_of_kernel(kernel);
    if (row != NULL) {
        row->launches++;
        row->seconds += seconds;
    }
    pthread_mutex_unlock(&table.lock);
}

void vgpu_profile_add(const char *kernel, const struct vgpu_counts *counts)
{
    struct row *row;

    pthread_mutex_lock(&table.lock);
    row = row_of_kernel(kernel);
    if (row != NULL) {
        row->counts.instructions += counts->instructions;
        row->counts.compiled += counts->compiled;
        row->counts.bytes += counts->bytes;
        row->counts.warps += counts->warps;
    }
    pthread_mutex_unlock(&table.lock);
}

void vgpu_counts_add(struct vgpu_counts *counts, const struct vgpu_inst *inst, uint32_t length,
                     uint32_t mask)
{
    uint64_t lanes = (uint64_t)__builtin_popcount(mask);

    counts->instructions += length;
    for (uint32_t i = 0; i < length; i++)
        counts->bytes += inst[i].bytes * lanes;
}
