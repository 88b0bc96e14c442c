/* SPDX-License-Identifier: MIT */
/** Opening, transactions, and running statements. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mediator/store/internal.h"

#define BUSY_MILLISECONDS 200

int vgpu_store_errno(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return -EACCES;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    default:
        return -EIO;
    }
}

const char *vgpu_store_error(const struct vgpu_store *store)
{
    return store->lost
               ? "the file is gone from its place; bring it back, or start the mediator again"
               : sqlite3_errmsg(store->database);
}

/** Only the mediator and who checks the file may read it; its log and index take over the mode. */
static int vgpu_store_make(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash && slash != path && (size_t)(slash - path) < sizeof(folder)) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return -errno;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd); /* before SQLite has it open: closing would drop its locks */
    return 0;
}

static int vgpu_store_lock(const char *path, int *lock)
{
    char name[PATH_MAX + 8];

    snprintf(name, sizeof(name), "%s-lock", path);
    *lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return -errno;
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static int vgpu_store_begin_use(struct vgpu_store *store, const char *path)
{
    /* FULL: what is made here is on the disk, and not only with the kernel. */
    static const char settings[] = "PRAGMA journal_mode = WAL;\n"
                                   "PRAGMA synchronous = FULL;\n"
                                   "PRAGMA foreign_keys = ON;\n"
                                   "PRAGMA trusted_schema = OFF;\n";
    int code = sqlite3_open_v2(path, &store->database, SQLITE_OPEN_READWRITE, NULL);

    if (code != SQLITE_OK)
        return vgpu_store_errno(code);
    sqlite3_extended_result_codes(store->database, 1);
    /* Somebody may be at it with another tool; and the mediator's loop waits meanwhile. */
    sqlite3_busy_timeout(store->database, BUSY_MILLISECONDS);
    code = sqlite3_exec(store->database, settings, NULL, NULL, NULL);
    return code == SQLITE_OK ? vgpu_schema_migrate(store->database, vgpu_schema_current)
                             : vgpu_store_errno(code);
}

static void vgpu_store_explain(const struct vgpu_store *store, const char *path, int error,
                               char *why, size_t size)
{
    if (error == -EBUSY)
        snprintf(why, size,
                 "the store %s is another mediator's; stop it, or set another store=", path);
    else if (error == -ENOTSUP)
        snprintf(why, size,
                 "the store %s was written by a newer version; install that, or set another store=",
                 path);
    else if (error == -EMEDIUMTYPE)
        snprintf(why, size,
                 "the store %s is the database of another program; set another store=", path);
    else if (error == -EUCLEAN)
        snprintf(why, size, "the store %s is damaged (%s); see vgpu-mediator --check-store", path,
                 vgpu_store_error(store));
    else
        snprintf(why, size,
                 "cannot use the store %s: %s; let the mediator's user write there, or set another "
                 "store=",
                 path, strerror(-error));
}

int vgpu_store_open(const char *path, struct vgpu_store **out, char *why, size_t size)
{
    struct vgpu_store *store = calloc(1, sizeof(*store));

    if (!store)
        return -ENOMEM;
    store->lock = store->flush.event = store->flush.log = -1;
    int error = vgpu_store_make(path);
    if (!error)
        error = vgpu_store_lock(path, &store->lock);
    if (!error)
        error = vgpu_store_begin_use(store, path);
    if (!error)
        error = vgpu_flush_open(&store->flush, store->database);
    if (error) {
        vgpu_store_explain(store, path, error, why, size);
        vgpu_store_close(store);
        return error;
    }
    *out = store;
    return 0;
}

void vgpu_store_close(struct vgpu_store *store)
{
    if (!store)
        return;
    vgpu_flush_close(&store->flush);
    sqlite3_close(store->database);
    if (store->lock >= 0)
        close(store->lock);
    free(store);
}

static int vgpu_store_execute(struct vgpu_store *store, const char *sql)
{
    return vgpu_store_errno(sqlite3_exec(store->database, sql, NULL, NULL, NULL));
}

/** What is written to a file that was removed or replaced would be acknowledged and lost. */
static bool vgpu_store_is_lost(const struct vgpu_store *store)
{
    int moved = 0;

    return sqlite3_file_control(store->database, "main", SQLITE_FCNTL_HAS_MOVED, &moved) ==
               SQLITE_OK &&
           moved;
}

int vgpu_store_begin(struct vgpu_store *store)
{
    store->lost = vgpu_store_is_lost(store);
    if (store->lost)
        return -ESTALE;
    return vgpu_store_execute(store, "BEGIN IMMEDIATE");
}

int vgpu_store_commit(struct vgpu_store *store)
{
    int error = vgpu_store_execute(store, "COMMIT");

    if (error)
        vgpu_store_roll_back(store);
    return error;
}

void vgpu_store_roll_back(struct vgpu_store *store)
{
    if (!sqlite3_get_autocommit(store->database))
        vgpu_store_execute(store, "ROLLBACK");
}

sqlite3_stmt *vgpu_store_prepare(struct vgpu_store *store, const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
    va_list values;

    va_start(values, types);
    for (int i = 0; code == SQLITE_OK && types[i]; i++) {
        if (types[i] == 's')
            code = sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1,
                                     SQLITE_TRANSIENT);
        else
            code = sqlite3_bind_int64(statement, i + 1, (int64_t)va_arg(values, uint64_t));
    }
    va_end(values);
    if (code == SQLITE_OK)
        return statement;
    sqlite3_finalize(statement);
    return NULL;
}

bool vgpu_store_row(struct vgpu_store *store, sqlite3_stmt *statement, int *error)
{
    int code = statement ? sqlite3_step(statement) : sqlite3_errcode(store->database);

    if (statement && code == SQLITE_ROW)
        return true;
    sqlite3_finalize(statement);
    *error = vgpu_store_errno(code);
    return false;
}

int vgpu_store_run(struct vgpu_store *store, sqlite3_stmt *statement)
{
    int error = 0;

    if (vgpu_store_row(store, statement, &error))
        sqlite3_finalize(statement);
    return error;
}

const char *vgpu_store_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    return text ? (const char *)text : "";
}

uint64_t vgpu_store_number(sqlite3_stmt *statement, int column)
{
    return (uint64_t)sqlite3_column_int64(statement, column);
}
