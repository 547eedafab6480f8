/* The write-ahead log of a database, read without SQLite: which frame holds the newest
 * version of a page, and whether the log is damaged. Private to core/db*.c. */
#ifndef CORE_DB_WAL_H
#define CORE_DB_WAL_H

#include "core/base.h"

#define BT_DB_WAL_HEAD  32u        /* bytes before the first frame */
#define BT_DB_WAL_FRAME 24u        /* bytes before the page of a frame */
#define BT_DB_WAL_MAX   (1u << 22) /* frames looked at */

struct bt_db_wal {
    int fd; /* -1: there is no log */
    uint32_t page_size;
    uint32_t n_frames; /* of the newest generation, damaged ones included */
    uint32_t n_bad;    /* of them, those whose checksum is wrong */
    uint32_t db_pages; /* length of the database after the last commit; 0 = no commit */
    bool damaged;      /* frames that were on the disk cannot be read */
    uint32_t n_slots;
    struct bt_db_wal_slot {
        uint32_t page, frame; /* from 1; page 0 = free */
    } * slots;
};

/* Never fails because of what is in the file. 0, BT_ENOMEM or BT_EIO; a file that is not
 * there is an empty log. */
int bt_db_wal_open(const char *path, struct bt_db_wal *out) BT_MUST_CHECK;
/* May run twice. */
void bt_db_wal_close(struct bt_db_wal *w);
/* Whether the log has this page; if so and to is not NULL, reads it: page_size bytes. */
bool bt_db_wal_page(const struct bt_db_wal *w, uint32_t page, uint8_t *to);

#endif
