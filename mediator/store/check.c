/* SPDX-License-Identifier: MIT */
/** vgpu-mediator --check-store. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mediator/store/internal.h"

/** Prints what a check of SQLite's finds wrong. Returns the number of findings, or -1 with a line
 *  of why there could be none. `fine`: the answer that is no finding; NULL: any row is one. */
static int vgpu_check_query(sqlite3 *database, const char *sql, const char *fine, FILE *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    int found = 0;

    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
            break;
        const char *text = vgpu_store_text(statement, 0);
        if (fine && strcmp(text, fine) == 0)
            continue;
        fprintf(out, "%s: %s\n", sql, text);
        found++;
    }
    if (code != SQLITE_DONE) {
        fprintf(out, "%s: %s\n", sql, sqlite3_errmsg(database));
        found = -1;
    }
    sqlite3_finalize(statement);
    return found;
}

static uint64_t vgpu_check_count(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    uint64_t count = 0;

    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        count = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

/** With .dump, which every sqlite3 has (.recover needs one that was built for it); it ends in a
 *  ROLLBACK if it could not read all, and has no version. Members get their pools back. */
static void vgpu_check_advise_damaged(const char *path, int version, FILE *out)
{
    fprintf(out, "%s is damaged. Stop the mediator, and save what can be read:\n", path);
    fprintf(out, "  cp %s %s.damaged\n", path, path);
    fprintf(out, "  sqlite3 %s .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 %s.new\n", path,
            path);
    fprintf(out,
            "  sqlite3 %s.new \"INSERT OR IGNORE INTO pools SELECT 'A', 50 UNION SELECT pool, 50 "
            "FROM vms; PRAGMA user_version = %d\" &&\n"
            "    chmod 600 %s.new && rm -f %s-wal %s-shm && mv %s.new %s\n",
            path, version, path, path, path, path, path);
    fputs("and check the new file; or take a backup; or move the file away, and VMs are registered "
          "anew.\n",
          out);
}

/** Who may read it knows the names of all VMs and what administrators did. */
static void vgpu_check_mode(const char *path, FILE *out)
{
    struct stat status;

    if (stat(path, &status) == 0 && status.st_mode & 077)
        fprintf(out, "%s can be read by others (mode %o); chmod 600 %s\n", path,
                (unsigned)status.st_mode & 0777, path);
}

static int vgpu_check_version(sqlite3 *database, const char *path, FILE *out)
{
    int version = 0;
    int error = vgpu_schema_version(database, &version);

    if (error == -EMEDIUMTYPE)
        fprintf(out,
                "%s has tables and no schema version: it is the database of another program; set "
                "another store=\n",
                path);
    if (error)
        return error;
    if (version == 0) {
        fprintf(out, "%s is empty; the mediator fills it when it starts\n", path);
        return 0;
    }
    if (version < 0 || version > vgpu_schema_current) {
        fprintf(out,
                "%s: schema version %d; this program knows 1 to %d; install the version that wrote "
                "it, or set another store=\n",
                path, version, vgpu_schema_current);
        return -EUCLEAN;
    }
    fprintf(out, "%s is good: schema version %d, VMs %llu, pools %llu, actions %llu\n", path,
            version, (unsigned long long)vgpu_check_count(database, "SELECT count(*) FROM vms"),
            (unsigned long long)vgpu_check_count(database, "SELECT count(*) FROM pools"),
            (unsigned long long)vgpu_check_count(database, "SELECT count(*) FROM audit"));
    if (version < vgpu_schema_current)
        fprintf(out, "the mediator makes that version %d when it starts\n", vgpu_schema_current);
    return 0;
}

static int vgpu_check_contents(sqlite3 *database, const char *path, FILE *out)
{
    int version = 0;

    if (vgpu_check_query(database, "PRAGMA integrity_check", "ok", out) != 0 ||
        vgpu_check_query(database, "PRAGMA foreign_key_check", NULL, out) != 0) {
        if (vgpu_schema_version(database, &version) || version < 1 || version > vgpu_schema_current)
            version = vgpu_schema_current;
        vgpu_check_advise_damaged(path, version, out);
        return -EUCLEAN;
    }
    vgpu_check_mode(path, out);
    return vgpu_check_version(database, path, out);
}

int vgpu_store_check(const char *path, FILE *out)
{
    sqlite3 *database = NULL;

    if (access(path, R_OK | W_OK) < 0) {
        int error = -errno;
        fprintf(out, "%s: %s; %s\n", path, strerror(-error),
                error == -ENOENT ? "the mediator makes it when it starts"
                                 : "check it as the mediator's user");
        return error;
    }
    /* Writable, because a log that a killed mediator left behind is read only after recovery. */
    int code = sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL);
    int error = vgpu_store_errno(code);
    if (error) {
        fprintf(out, "%s: %s\n", path, sqlite3_errmsg(database));
    } else {
        sqlite3_busy_timeout(database, 2000);
        error = vgpu_check_contents(database, path, out);
    }
    sqlite3_close(database);
    return error;
}
