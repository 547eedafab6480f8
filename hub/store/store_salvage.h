/* What is done about a damaged store. Main thread, before the store's thread runs, with
 * the store's lock held and its database closed. Private to the store. */
#ifndef HUB_STORE_SALVAGE_H
#define HUB_STORE_SALVAGE_H

#include "core/base.h"

#define HUB_STORE_PATH_MAX 4096
#define HUB_STORE_TABLES   10u

/* What became of the rows of one table. */
struct hub_store_toll {
    const char *table;
    uint64_t kept;
    uint64_t
        dropped;   /* read, but of no use: wrong, or without their message or session */
    uint64_t lost; /* not found, and known to have been there */
};
struct hub_store_salvaged {
    struct hub_store_toll tables[HUB_STORE_TABLES];
    uint32_t pages, bad_pages, bad_log_frames;
    uint64_t bad_cells;
};

/* Copies every row that can be read from the damaged database `from` into a new one,
 * `to`, and has it on the disk. 0, or why that could not be done; then `to` is of no use.
 */
int hub_store_salvage(const char *from, const char *to,
                      struct hub_store_salvaged *out) BT_MUST_CHECK;

/* hub/store/store_mend.c. */
/* Salvages the database at path into a new one that takes its place; the damaged one is
 * kept as <path>.damaged-<time>. When salvaging fails a new one will be started. 0, or
 * BT_EIO. */
int hub_store_mend(const char *path) BT_MUST_CHECK;
/* Finishes what a process that was killed while mending had decided. 0 or BT_EIO. */
int hub_store_mend_finish(const char *path) BT_MUST_CHECK;
/* Renames the database and its log only. */
int hub_store_set_aside(const char *path) BT_MUST_CHECK;
/* A note that asks for a complete check at the next start; true: it was there. */
void hub_store_note(const char *path);
bool hub_store_noted(const char *path);
void hub_store_unnote(const char *path);

#endif
