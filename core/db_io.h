/* What databases do to the device: SQLite's file system, with its writes and
 * synchronisations counted, and with failures on request. Private to core/db*.c. */
#ifndef CORE_DB_IO_H
#define CORE_DB_IO_H

/* The name of the file system for sqlite3_open_v2; NULL when it could not be set up. Any
 * thread. */
const char *bt_db_io_vfs(void);

#endif
