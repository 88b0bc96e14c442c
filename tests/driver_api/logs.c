/* SPDX-License-Identifier: MIT */
/* The driver's log: what is added to it is told to callbacks, and is read from where a program
 * wants. A log that is read into no buffer is an error that is logged. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum { MOST = 25600 }; /* bytes of the whole log */

struct heard {
    int count;
    int empty;
    CUlogLevel level;
};

static void hear(void *data, CUlogLevel level, char *message, size_t length)
{
    struct heard *heard = data;
    heard->count++;
    heard->level = level;
    heard->empty += message == NULL || length == 0 || *message == 0;
}

static CUlogIterator end_of_log(void)
{
    CUlogIterator iterator = 0;
    CHECK(cuLogsCurrent(&iterator, 0));
    return iterator;
}

static void add_error(void)
{
    CUlogIterator iterator = end_of_log();
    size_t bytes = MOST;
    EXPECT(cuLogsDumpToMemory(&iterator, NULL, &bytes, 0) == CUDA_ERROR_INVALID_VALUE);
}

/* Reads from an iterator on into `text`, which nothing is written to if there is nothing. */
static size_t read_log(CUlogIterator *iterator, char text[MOST])
{
    size_t bytes = MOST;
    memset(text, '?', MOST);
    CHECK(cuLogsDumpToMemory(iterator, text, &bytes, 0));
    EXPECT(bytes < MOST);
    EXPECT(bytes == 0 ? text[0] == '?' : strnlen(text, MOST) == bytes && text[bytes - 1] == '\n');
    return bytes;
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void test_memory(void)
{
    static char text[MOST], more[MOST];
    CUlogIterator start = end_of_log(), reader = start;
    EXPECT(read_log(&reader, text) == 0);
    add_error();
    EXPECT(end_of_log() != start);
    size_t bytes = read_log(&reader, text);
    EXPECT(bytes > 0);
    EXPECT(read_log(&reader, more) == 0); /* it has moved on */
    EXPECT(reader == end_of_log());
    add_error();
    EXPECT(read_log(&reader, more) == bytes);
    reader = start;
    EXPECT(read_log(&reader, more) == 2 * bytes);
    EXPECT(strncmp(more, text, bytes) == 0);
    EXPECT(lines_of(more) == 2 * lines_of(text));
    EXPECT(read_log(NULL, more) >= 2 * bytes); /* all of it */
}

static void test_too_little_room(void)
{
    const CUlogIterator start = end_of_log();
    CUlogIterator reader = start;
    char text[2];
    size_t bytes = sizeof(text);
    add_error();
    EXPECT(cuLogsDumpToMemory(&reader, text, &bytes, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(bytes == 0 && reader == start);
}

static void test_file(void)
{
    static char text[MOST], of_file[MOST];
    CUlogIterator for_memory = end_of_log(), for_file = for_memory;
    char path[] = "/tmp/cuda-log-XXXXXX";
    int file = mkstemp(path);
    EXPECT(file >= 0);
    add_error();
    size_t bytes = read_log(&for_memory, text);
    CHECK(cuLogsDumpToFile(&for_file, path, 0));
    EXPECT(for_file == for_memory);
    ssize_t got = read(file, of_file, MOST);
    EXPECT(got == (ssize_t)bytes && memcmp(text, of_file, bytes) == 0);
    CHECK(cuLogsDumpToFile(&for_file, path, 1)); /* flags mean nothing */
    close(file);
    unlink(path);
    EXPECT(cuLogsDumpToFile(&for_file, NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLogsDumpToFile(&for_file, "/no/such/folder/log", 0) != CUDA_SUCCESS);
}

static void test_callbacks(void)
{
    static struct heard one, other; /* for good, as a callback is that nobody can unregister */
    CUlogsCallbackHandle first = NULL, second = NULL;
    CHECK(cuLogsRegisterCallback(hear, &one, &first));
    CHECK(cuLogsRegisterCallback(hear, &other, &second));
    EXPECT(first != second);
    EXPECT(one.count == 0 && other.count == 0);
    add_error();
    EXPECT(one.count > 0 && one.count == other.count);
    EXPECT(one.level == CU_LOG_LEVEL_ERROR && one.empty == 0 && other.empty == 0);
    CHECK(cuLogsUnregisterCallback(first));
    int before = one.count;
    add_error();
    EXPECT(one.count == before && other.count == 2 * before);
    CHECK(cuLogsUnregisterCallback(second));
    add_error();
    EXPECT(other.count == 2 * before);
    EXPECT(cuLogsRegisterCallback(NULL, NULL, &first) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLogsRegisterCallback(hear, &one, NULL));
    add_error();
    EXPECT(one.count > before);
}

/* Of more than is kept the newest stay. */
static void test_overflow(void)
{
    static char text[MOST];
    CUlogIterator start = end_of_log(), reader;
    for (int i = 0; i < 1000; i++)
        add_error();
    reader = start;
    EXPECT(read_log(&reader, text) > 0);
    EXPECT(reader == end_of_log());
    EXPECT(lines_of(text) < 1000);
}

static void test_refusals(void)
{
    CUlogIterator iterator = 0;
    char text[64];
    size_t bytes = sizeof(text);
    CHECK(cuLogsCurrent(&iterator, 1)); /* flags mean nothing */
    CHECK(cuLogsDumpToMemory(&iterator, text, &bytes, 1));
    EXPECT(bytes == 0);
    EXPECT(cuLogsCurrent(NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLogsDumpToMemory(&iterator, text, NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLogsUnregisterCallback(NULL) == CUDA_ERROR_INVALID_VALUE);
}

/* Run again with CUDA_LOG_FILE: what is logged is written there, too. */
static int be_shown(const char *path)
{
    static char text[MOST], shown[2 * MOST];
    CUlogIterator reader;
    CHECK(cuInit(0));
    reader = end_of_log();
    add_error();
    size_t bytes = read_log(&reader, text);
    FILE *file = fopen(path, "r");
    EXPECT(file != NULL && bytes > 0);
    shown[fread(shown, 1, sizeof(shown) - 1, file)] = 0;
    fclose(file);
    unlink(path);
    EXPECT(strstr(shown, text) != NULL);
    printf("logs: all is well\n");
    return 0;
}

static int show(char *program)
{
    char path[] = "/tmp/cuda-log-XXXXXX";
    int file = mkstemp(path);
    EXPECT(file >= 0);
    close(file);
    unlink(path);
    EXPECT(setenv("CUDA_LOG_FILE", path, 1) == 0);
    execl("/proc/self/exe", program, path, NULL);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return be_shown(argv[1]);
    CHECK(cuInit(0));
    test_memory();
    test_too_little_room();
    test_file();
    test_callbacks();
    test_overflow();
    test_refusals();
    return show(argv[0]);
}
