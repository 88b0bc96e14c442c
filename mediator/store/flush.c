/* SPDX-License-Identifier: MIT */
/**
 * What was committed is brought to the disk by a thread: a disk can take a second for it, in which
 * the mediator's loop has the GPU to share out. A commit leaves its pages in the write-ahead log,
 * with the kernel, where a killed mediator cannot lose them; the thread syncs the log, and moves
 * its pages to the database when there are many.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mediator/store/internal.h"
#include "mediator/thread.h"

#define CHECKPOINT_PAGES  1000
#define BUSY_MILLISECONDS 200

/** SQLite has committed something; called by the committing thread. */
static int vgpu_flush_committed(void *user, sqlite3 *database, const char *name, int pages)
{
    struct vgpu_flush *flush = user;

    (void)database;
    (void)name;
    pthread_mutex_lock(&flush->mutex);
    flush->written++;
    flush->pages = pages;
    pthread_cond_broadcast(&flush->changed);
    pthread_mutex_unlock(&flush->mutex);
    return SQLITE_OK;
}

/** That the log is in its folder has to be on disk, too. */
static int vgpu_flush_sync_folder(const char *log_path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%s", log_path);
    int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return error;
}

/** The thread's own descriptor: SQLite's is its connection's. No lock is on this file, so closing
 * it loses none. */
static int vgpu_flush_open_log(struct vgpu_flush *flush)
{
    int log = open(flush->log_path, O_RDONLY | O_CLOEXEC);

    if (log < 0)
        return -errno;
    int error = vgpu_flush_sync_folder(flush->log_path);
    if (error)
        close(log); /* both are tried again with the next change */
    else
        flush->log = log;
    return error;
}

static int vgpu_flush_sync(struct vgpu_flush *flush)
{
    int error = flush->log < 0 ? vgpu_flush_open_log(flush) : 0;

    if (!error && fdatasync(flush->log) < 0)
        error = -errno;
    return error;
}

/** A connection of the thread's own; NULL: not this time. */
static sqlite3 *vgpu_flush_connect(const char *path)
{
    sqlite3 *database = NULL;

    if (sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(database, BUSY_MILLISECONDS);
        /* Only who has read something knows of the log. */
        if (sqlite3_exec(database, "SELECT 1 FROM sqlite_schema", NULL, NULL, NULL) == SQLITE_OK)
            return database;
    }
    sqlite3_close(database);
    return NULL;
}

/** What is not moved this time, because somebody reads or the disk is full, is still in the log. */
static void vgpu_flush_move_pages(struct vgpu_flush *flush)
{
    if (!flush->database)
        flush->database = vgpu_flush_connect(flush->path);
    if (flush->database)
        sqlite3_wal_checkpoint_v2(flush->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void vgpu_flush_tell(const struct vgpu_flush *flush)
{
    const uint64_t one = 1;

    (void)!write(flush->event, &one, sizeof(one)); /* full: it is readable already */
}

static void *vgpu_flush_run(void *user)
{
    struct vgpu_flush *flush = user;

    pthread_mutex_lock(&flush->mutex);
    for (;;) {
        while (flush->written == flush->done && !flush->ends)
            pthread_cond_wait(&flush->changed, &flush->mutex);
        if (flush->written == flush->done)
            break;
        uint64_t written = flush->written;
        bool many = flush->pages >= CHECKPOINT_PAGES;
        pthread_mutex_unlock(&flush->mutex);
        int error = vgpu_flush_sync(flush);
        if (!error && many)
            vgpu_flush_move_pages(flush);
        pthread_mutex_lock(&flush->mutex);
        flush->done = written;
        if (error) {
            flush->failed = written;
            flush->error = error;
        }
        vgpu_flush_tell(flush);
        pthread_cond_broadcast(&flush->changed);
    }
    pthread_mutex_unlock(&flush->mutex);
    return NULL;
}

int vgpu_flush_open(struct vgpu_flush *flush, sqlite3 *database)
{
    flush->path = sqlite3_db_filename(database, "main");
    flush->log_path = sqlite3_filename_wal(flush->path);
    pthread_mutex_init(&flush->mutex, NULL);
    pthread_cond_init(&flush->changed, NULL);
    flush->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (flush->event < 0)
        return -errno;
    int code = sqlite3_exec(database, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return vgpu_store_errno(code);
    sqlite3_wal_hook(database, vgpu_flush_committed, flush); /* in place of its own checkpoints */
    int error = vgpu_thread_start(&flush->thread, vgpu_flush_run, flush);
    flush->runs = error == 0;
    return error;
}

void vgpu_flush_close(struct vgpu_flush *flush)
{
    if (flush->runs) {
        pthread_mutex_lock(&flush->mutex);
        flush->ends = true;
        pthread_cond_broadcast(&flush->changed);
        pthread_mutex_unlock(&flush->mutex);
        pthread_join(flush->thread, NULL);
    }
    if (flush->event >= 0)
        close(flush->event);
    if (flush->database)
        sqlite3_close(flush->database);
    if (flush->log >= 0)
        close(flush->log);
}

uint64_t vgpu_store_written(struct vgpu_store *store)
{
    pthread_mutex_lock(&store->flush.mutex);
    uint64_t written = store->flush.written;
    pthread_mutex_unlock(&store->flush.mutex);
    return written;
}

struct vgpu_store_flushed vgpu_store_flushed(struct vgpu_store *store)
{
    uint64_t times;

    (void)!read(store->flush.event, &times, sizeof(times));
    pthread_mutex_lock(&store->flush.mutex);
    const struct vgpu_store_flushed flushed = {
        .done = store->flush.done, .failed = store->flush.failed, .error = store->flush.error};
    pthread_mutex_unlock(&store->flush.mutex);
    return flushed;
}

int vgpu_store_flushed_event(const struct vgpu_store *store)
{
    return store->flush.event;
}
