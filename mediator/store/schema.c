/* SPDX-License-Identifier: MIT */
/** The tables, and how those of an older version become those of this one. */
#include <errno.h>
#include <stdio.h>

#include "mediator/store/internal.h"

/* Step N brings version N to N + 1. A step that was ever released does not change. */
static const char *const vgpu_schema_steps[] = {
    "CREATE TABLE pools (\n"
    "  name TEXT PRIMARY KEY CHECK (name GLOB '[A-Z]'),\n"
    "  weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 100)\n"
    ") STRICT;\n"
    "INSERT INTO pools VALUES ('A', 50);\n"
    "CREATE TABLE vms (\n"
    "  name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),\n"
    "  uuid TEXT UNIQUE CHECK (length(uuid) = 36),\n"
    "  pool TEXT NOT NULL REFERENCES pools (name),\n"
    "  priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),\n"
    "  weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 100),\n"
    "  share_cap INTEGER NOT NULL CHECK (share_cap BETWEEN 1 AND 100),\n"
    "  memory INTEGER NOT NULL CHECK (memory >= 0),\n"
    "  rate INTEGER NOT NULL CHECK (rate >= 0),\n"
    "  queue_depth INTEGER NOT NULL CHECK (queue_depth >= 0),\n"
    "  watchdog INTEGER NOT NULL CHECK (watchdog >= 1),\n"
    "  quarantined INTEGER NOT NULL CHECK (quarantined >= 0),\n"
    "  reason TEXT NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE audit (\n"
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    "  time INTEGER NOT NULL,\n"
    "  uid INTEGER NOT NULL,\n"
    "  pid INTEGER NOT NULL,\n"
    "  verb TEXT NOT NULL,\n"
    "  target TEXT NOT NULL,\n"
    "  arguments TEXT NOT NULL,\n"
    "  outcome TEXT NOT NULL\n"
    ") STRICT;\n",
    "CREATE TABLE usage (\n"
    "  vm TEXT NOT NULL,\n"
    "  hour INTEGER NOT NULL,\n"
    "  gpu_ns INTEGER NOT NULL,\n"
    "  calls INTEGER NOT NULL,\n"
    "  to_device_bytes INTEGER NOT NULL,\n"
    "  from_device_bytes INTEGER NOT NULL,\n"
    "  PRIMARY KEY (vm, hour)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE faults (\n"
    "  vm TEXT NOT NULL,\n"
    "  hour INTEGER NOT NULL,\n"
    "  kind TEXT NOT NULL,\n"
    "  count INTEGER NOT NULL,\n"
    "  detail TEXT NOT NULL,\n"
    "  PRIMARY KEY (vm, hour, kind)\n"
    ") STRICT, WITHOUT ROWID;\n",
    "ALTER TABLE vms ADD COLUMN fault_limit INTEGER NOT NULL DEFAULT 3 CHECK (fault_limit >= 0);\n"
    "ALTER TABLE vms ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0 CHECK (strikes >= 0);\n"
    "ALTER TABLE vms ADD COLUMN struck INTEGER NOT NULL DEFAULT 0 CHECK (struck >= 0);\n",
};

const int vgpu_schema_current = sizeof(vgpu_schema_steps) / sizeof(*vgpu_schema_steps);

static int vgpu_schema_number(sqlite3 *database, const char *sql, int *number)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);

    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *number = sqlite3_column_int(statement, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return vgpu_store_errno(code);
}

int vgpu_schema_version(sqlite3 *database, int *version)
{
    int tables = 0, error = vgpu_schema_number(database, "PRAGMA user_version", version);

    if (!error && *version == 0)
        error = vgpu_schema_number(database, "SELECT count(*) FROM sqlite_schema", &tables);
    return tables ? -EMEDIUMTYPE : error;
}

static int vgpu_schema_step(sqlite3 *database, int from)
{
    char version[64];

    snprintf(version, sizeof(version), "PRAGMA user_version = %d", from + 1);
    int code = sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(database, vgpu_schema_steps[from], NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(database, version, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(database, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK && !sqlite3_get_autocommit(database))
        sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
    return vgpu_store_errno(code);
}

int vgpu_schema_migrate(sqlite3 *database, int version)
{
    int have = 0;
    int error = vgpu_schema_version(database, &have);

    if (!error && (have < 0 || have > version))
        error = -ENOTSUP;
    for (; !error && have < version && have < vgpu_schema_current; have++)
        error = vgpu_schema_step(database, have);
    return error;
}
