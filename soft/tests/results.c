/* SPDX-License-Identifier: MIT */
#include "soft/tests/results.h"

#include <stdlib.h>
#include <string.h>

#include "soft/tests/harness.h"

bool results_are_written(void)
{
    return getenv("WRITE_EXPECTED") != NULL;
}

static uint64_t mix(uint64_t hash, uint64_t v)
{
    hash = (hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

void result_add_input(struct result *result, uint64_t v)
{
    result->inputs = mix(result->inputs, v);
}

static uint64_t without_payload(uint64_t v, unsigned bits, uint64_t infinity)
{
    return (v & (UINT64_MAX >> (65 - bits))) > infinity ? UINT64_MAX >> (65 - bits) : v;
}

/* Which NaN comes out is open but for f32. */
static uint64_t plain(char letter, uint64_t v)
{
    uint64_t low = v & 0xffff, high = v >> 16 & 0xffff,
             half = letter == 'e' || letter == 'E' ? 0x7c00 : 0x7f80;

    switch (letter) {
    case 'd':
        return without_payload(v, 64, UINT64_C(0x7ff0000000000000));
    case 'f':
        return without_payload(v, 32, 0x7f800000);
    case 'v':
        return without_payload(v & UINT32_MAX, 32, 0x7f800000) |
               without_payload(v >> 32, 32, 0x7f800000) << 32;
    case 'e':
    case 'b':
        return without_payload(v, 16, half);
    case 'E':
    case 'B':
        return without_payload(low, 16, half) | without_payload(high, 16, half) << 16;
    default:
        return v;
    }
}

void result_add_output(struct result *result, char letter, uint64_t got, uint64_t want)
{
    uint64_t apart;

    got = plain(letter, got);
    want = plain(letter, want);
    apart = got > want ? got - want : want - got;
    result->outputs = mix(result->outputs, got);
    result->different += got != want;
    result->most = apart > result->most ? apart : result->most;
}

__attribute__((format(printf, 1, 2))) static void write_line(const char *format, ...)
{
    FILE *file = fopen(getenv("WRITE_EXPECTED"), "a");
    va_list list;

    if (file == NULL) {
        fail_msg("%s cannot be written", getenv("WRITE_EXPECTED"));
        return;
    }
    va_start(list, format);
    vfprintf(file, format, list);
    va_end(list);
    fputc('\n', file);
    fclose(file);
}

/* Lines of the file with what is expected, read once; they end with NULL. */
static char **expected_lines(void)
{
    static char **lines;
    FILE *file;
    char line[1024];
    size_t count = 0, room = 16384;

    if (lines != NULL)
        return lines;
    file = fopen(getenv("EXPECTED"), "r");
    lines = calloc(room + 1, sizeof(*lines));
    if (file == NULL || lines == NULL) {
        fail_msg("%s cannot be read", getenv("EXPECTED"));
        return NULL;
    }
    while (count < room && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '#' && strncmp(line, "absent ", 7) != 0)
            lines[count++] = strdup(line);
    }
    fclose(file);
    return lines;
}

static void compare(const struct result *r, bool exact, const char *name)
{
    size_t length = strlen(name);

    for (char **line = expected_lines(); *line != NULL; line++) {
        size_t all = strlen(*line);
        unsigned long long inputs, outputs;
        unsigned different;

        if (all <= length || strcmp(*line + all - length, name) != 0 ||
            (*line)[all - length - 1] != ' ' ||
            sscanf(*line, "%llx %llx %u", &inputs, &outputs, &different) != 3 ||
            inputs != r->inputs)
            continue;
        /* Where that device is not as the reference, it is known why: see run --compare. */
        if (exact && different == 0 && outputs != r->outputs)
            fail_msg("%s: other results than in %s", name, getenv("EXPECTED"));
        return;
    }
}

void result_finish(const struct result *r, bool exact, const char *name)
{
    if (results_are_written())
        write_line("%016llx %016llx %u %llu %s", (unsigned long long)r->inputs,
                   (unsigned long long)r->outputs, r->different, (unsigned long long)r->most, name);
    else if (getenv("EXPECTED") != NULL)
        compare(r, exact, name);
}

void result_absent(const char *name)
{
    printf("not on this device: %s\n", name);
    if (results_are_written())
        write_line("absent %s", name);
}
