/* SPDX-License-Identifier: MIT */
/** Of the store's files among themselves. */
#ifndef VGPU_MEDIATOR_STORE_INTERNAL_H
#define VGPU_MEDIATOR_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "mediator/store/store.h"

/** Of flush.c. */
struct vgpu_flush {
    const char *path, *log_path; /* the database's and its write-ahead log's; SQLite's */
    int event;                   /* readable when `done` has grown */
    pthread_t thread;
    bool runs;
    /* the thread's: */
    int log;
    sqlite3 *database; /* NULL: no page was moved yet */
    /* of both, under the mutex: */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t written; /* changes that were committed */
    uint64_t done;    /* of these, that were synced, or failed to be */
    uint64_t failed;  /* the last that failed; 0: none */
    int error;        /* with which */
    int pages;        /* in the log */
    bool ends;
};

/** From now on what is committed to `database` goes to the disk. */
int vgpu_flush_open(struct vgpu_flush *flush, sqlite3 *database);
/** When all is there; before the database is closed. Nothing, if it was never opened. */
void vgpu_flush_close(struct vgpu_flush *flush);

struct vgpu_store {
    sqlite3 *database;
    struct vgpu_flush flush;
    int lock;  /* on a file beside it: one writer */
    bool lost; /* the file is not at its path any more */
};

/** The errno for what SQLite answered. */
int vgpu_store_errno(int code);

/** Brings the schema to `version`, from whatever older one there is: each step is all or nothing.
 *  -ENOTSUP: it is newer; -EMEDIUMTYPE: there are tables of somebody else. */
int vgpu_schema_migrate(sqlite3 *database, int version);
/** 0: there is nothing in it. -EMEDIUMTYPE: there is, but no version. */
int vgpu_schema_version(sqlite3 *database, int *version);

/** What this program writes. */
extern const int vgpu_schema_current;

/** Prepares `sql` and binds, by the letters of `types`: s (const char *; NULL: null), i (uint64_t).
 *  NULL after an error, which vgpu_store_error() tells. */
sqlite3_stmt *vgpu_store_prepare(struct vgpu_store *store, const char *sql, const char *types, ...);

/** Runs a prepared statement to its end and finalizes it; NULL fails. */
int vgpu_store_run(struct vgpu_store *store, sqlite3_stmt *statement);

/** Steps to the next row of a prepared statement, or the first. False at the end, which finalizes
 *  it, and *error is 0 or why there is no more; NULL fails. */
bool vgpu_store_row(struct vgpu_store *store, sqlite3_stmt *statement, int *error);

/** Number of a column. */
uint64_t vgpu_store_number(sqlite3_stmt *statement, int column);

/** Text of a column, never NULL; valid until the next step. */
const char *vgpu_store_text(sqlite3_stmt *statement, int column);

#endif
