/* SPDX-License-Identifier: MIT */
/* cuLogs*: lines are numbered as they come, and an iterator is the number of the next one. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "interop/driver_api.h"
#include "interop/log.h"

/* All that is kept and a line before it are 25600 bytes at most, as cuda.h promises. */
enum { LINES = 99, LINE_BYTES = 256 };

/* A registered callback, at which its handle points. It is never freed, so that a callback may
 * unregister any, but used again. */
struct callback {
    CUlogsCallback function; /* NULL: none is registered here */
    void *data;
    struct callback *next;
};

static struct {
    pthread_mutex_t lock; /* recursive: held while callbacks run, which may use the log */
    uint32_t count;       /* of all lines ever, modulo 2^32 */
    char lines[LINES][LINE_BYTES];
    struct callback *callbacks;
} driver_log = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

/* What a callback's own calls add is not told to callbacks. */
static _Thread_local bool is_telling;

/* The functions from here to the next headline are called with the lock held. */

static char *line_of(uint32_t number)
{
    return driver_log.lines[number % LINES];
}

static void write_line(char *line, const char *message)
{
    struct timespec now;
    struct tm local;
    int length;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    length = snprintf(line, LINE_BYTES - 1, "[%02d:%02d:%02d.%03ld][%d][vgpu][E] %s", local.tm_hour,
                      local.tm_min, local.tm_sec, now.tv_nsec / 1000000, (int)gettid(), message);
    length = length < LINE_BYTES - 2 ? length : LINE_BYTES - 2;
    memcpy(line + length, "\n", 2);
}

/* To where the user wants to see what is logged, if anywhere. Nothing can be done if it fails. */
static void show_line(const char *line)
{
    const char *wanted = getenv("CUDA_LOG_FILE");
    bool is_named = false;
    int file = -1;

    if (!wanted || !*wanted)
        return;
    if (strcmp(wanted, "stdout") == 0) {
        file = STDOUT_FILENO;
    } else if (strcmp(wanted, "stderr") == 0) {
        file = STDERR_FILENO;
    } else {
        file = open(wanted, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        is_named = file >= 0;
    }
    if (file >= 0)
        (void)!write(file, line, strlen(line));
    if (is_named)
        close(file);
}

static void tell(const char *message)
{
    char text[LINE_BYTES];

    if (is_telling)
        return;
    is_telling = true;
    for (const struct callback *c = driver_log.callbacks; c; c = c->next) {
        size_t length = strnlen(message, sizeof(text) - 1);

        memcpy(text, message, length); /* each may write to its own */
        text[length] = '\0';
        if (c->function)
            c->function(c->data, CU_LOG_LEVEL_ERROR, text, length);
    }
    is_telling = false;
}

static struct callback *find_callback(const struct callback *wanted)
{
    struct callback *found = driver_log.callbacks;

    while (found && found != wanted)
        found = found->next;
    return found;
}

/* One that is not in use. */
static struct callback *take_callback(void)
{
    struct callback *free_one = driver_log.callbacks;

    while (free_one && free_one->function)
        free_one = free_one->next;
    if (free_one)
        return free_one;
    free_one = calloc(1, sizeof(*free_one));
    if (free_one) {
        free_one->next = driver_log.callbacks;
        driver_log.callbacks = free_one;
    }
    return free_one;
}

/* Lines that a reader gets: the newest `lines`, of `wanted` that it asked for. */
struct portion {
    uint32_t wanted;
    uint32_t lines;
};

static const char cut_off[] = "[vgpu] older lines are missing here\n";

static struct portion portion_from(const CUlogIterator *iterator)
{
    uint32_t all = driver_log.count < LINES ? driver_log.count : LINES;
    struct portion portion = {.wanted = iterator ? driver_log.count - *iterator : all};

    if (!iterator && driver_log.count > LINES)
        portion.wanted = LINES + 1;
    portion.lines = portion.wanted < all ? portion.wanted : all;
    return portion;
}

static size_t bytes_of(struct portion portion)
{
    size_t bytes = portion.lines < portion.wanted ? strlen(cut_off) : 0;

    for (uint32_t i = 1; i <= portion.lines; i++)
        bytes += strlen(line_of(driver_log.count - i));
    return bytes;
}

/* Writes it to `text`, which has room for it and a NUL. */
static void copy_portion(struct portion portion, char *text)
{
    *text = '\0';
    if (portion.lines < portion.wanted)
        text = stpcpy(text, cut_off);
    for (uint32_t i = portion.lines; i > 0; i--)
        text = stpcpy(text, line_of(driver_log.count - i));
}

static void advance(CUlogIterator *iterator)
{
    if (iterator)
        *iterator = driver_log.count;
}

/* ---- end of the functions that need the lock ---- */

void vgpu_log_keep(const char *message)
{
    pthread_mutex_lock(&driver_log.lock);
    write_line(line_of(driver_log.count), message);
    show_line(line_of(driver_log.count));
    driver_log.count++;
    tell(message);
    pthread_mutex_unlock(&driver_log.lock);
}

/* What was wrong with a call goes to the log, too: it is read by who looks for mistakes. */
static CUresult refuse(const char *message)
{
    vgpu_log_keep(message);
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLogsRegisterCallback(CUlogsCallback callbackFunc, void *userData,
                                CUlogsCallbackHandle *callback_out)
{
    struct callback *callback;

    if (!callbackFunc)
        return refuse("[cuLogsRegisterCallback] the callback is NULL");
    pthread_mutex_lock(&driver_log.lock);
    callback = take_callback();
    if (callback)
        *callback = (struct callback){callbackFunc, userData, callback->next};
    pthread_mutex_unlock(&driver_log.lock);
    if (callback && callback_out)
        *callback_out = (CUlogsCallbackHandle)callback;
    return callback ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuLogsUnregisterCallback(CUlogsCallbackHandle handle)
{
    struct callback *callback;
    bool known;

    pthread_mutex_lock(&driver_log.lock);
    callback = find_callback((const struct callback *)handle);
    known = callback && callback->function;
    if (known)
        callback->function = NULL;
    pthread_mutex_unlock(&driver_log.lock);
    return known ? CUDA_SUCCESS
                 : refuse("[cuLogsUnregisterCallback] no such callback is registered");
}

CUresult cuLogsCurrent(CUlogIterator *iterator_out, unsigned int flags)
{
    (void)flags; /* here and below NVIDIA's driver does not look at them either */
    if (!iterator_out)
        return refuse("[cuLogsCurrent] the iterator is NULL");
    pthread_mutex_lock(&driver_log.lock);
    advance(iterator_out);
    pthread_mutex_unlock(&driver_log.lock);
    return CUDA_SUCCESS;
}

CUresult cuLogsDumpToFile(CUlogIterator *iterator, const char *pathToFile, unsigned int flags)
{
    char text[LINES * LINE_BYTES + sizeof(cut_off)];
    FILE *file;
    bool written;

    (void)flags;
    if (!pathToFile)
        return refuse("[cuLogsDumpToFile] the path is NULL");
    file = fopen(pathToFile, "we");
    if (!file)
        return refuse("[cuLogsDumpToFile] the file cannot be opened: see whether its folder is "
                      "there and may be written to");
    pthread_mutex_lock(&driver_log.lock);
    copy_portion(portion_from(iterator), text);
    advance(iterator);
    pthread_mutex_unlock(&driver_log.lock);
    written = fputs(text, file) >= 0;
    written = fclose(file) == 0 && written;
    return written ? CUDA_SUCCESS
                   : refuse("[cuLogsDumpToFile] the file cannot be written: see whether its disk "
                            "is full");
}

CUresult cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned int flags)
{
    struct portion portion;
    CUresult result = CUDA_SUCCESS;

    (void)flags;
    if (!buffer || !size)
        return refuse("[cuLogsDumpToMemory] the buffer or its size is NULL");
    pthread_mutex_lock(&driver_log.lock);
    portion = portion_from(iterator);
    while (portion.lines > 0 && bytes_of(portion) + 1 > *size)
        portion.lines--;
    if (portion.lines > 0) {
        copy_portion(portion, buffer);
        *size = strlen(buffer);
        advance(iterator);
    } else {
        result = portion.wanted > 0 && *size > 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
        *size = 0;
    }
    pthread_mutex_unlock(&driver_log.lock);
    return result;
}
