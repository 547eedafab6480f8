/* A thin layer between SQLite and the system's file system. It counts bytes and
 * synchronisations of the database file and of its log apart, because they are what a
 * flash device wears out by, and it can be told to fail, because a disk cannot.
 *
 * Every call goes on to the real file, which lies behind ours in the same block. Memory
 * mapping and shared memory are not offered: the store uses neither. */
#include "core/db_io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clock.h"
#include "core/db.h"
#include <sqlite3.h>

#define VFS_NAME "baetyl"

struct file {
    sqlite3_file base;
    sqlite3_file *real;
    bool log;
    /* Of the log: where it ended after the last write, and the last synchronisation. A
     * write of its head begins it anew. */
    sqlite3_int64 end, safe;
};

static _Atomic uint64_t file_bytes, log_bytes, syncs, sync_us;
static _Atomic unsigned fail_syncs, fail_writes;
static sqlite3_vfs vfs;
static sqlite3_vfs *real_vfs;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *vfs_name;

void bt_db_io_get(struct bt_db_io *out)
{
    out->file_bytes = atomic_load_explicit(&file_bytes, memory_order_relaxed);
    out->log_bytes = atomic_load_explicit(&log_bytes, memory_order_relaxed);
    out->syncs = atomic_load_explicit(&syncs, memory_order_relaxed);
    out->sync_us = atomic_load_explicit(&sync_us, memory_order_relaxed);
}

void bt_db_io_fail(unsigned n_syncs, unsigned n_writes)
{
    atomic_store(&fail_syncs, n_syncs);
    atomic_store(&fail_writes, n_writes);
}

/* One of the failures that were asked for. */
static bool must_fail(_Atomic unsigned *left)
{
    unsigned n = atomic_load_explicit(left, memory_order_relaxed);

    if (n == 0)
        return false;
    atomic_store_explicit(left, n - 1, memory_order_relaxed);
    return true;
}

static struct file *own(sqlite3_file *f)
{
    return (struct file *)f;
}

static sqlite3_file *real(sqlite3_file *f)
{
    return own(f)->real;
}

static int file_close(sqlite3_file *f)
{
    return real(f)->pMethods->xClose(real(f));
}

static int file_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return real(f)->pMethods->xRead(real(f), to, n, at);
}

static int file_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    struct file *file = own(f);
    int rc = must_fail(&fail_writes)
                 ? SQLITE_FULL
                 : file->real->pMethods->xWrite(file->real, from, n, at);

    if (rc == SQLITE_OK) {
        file->end = at == 0 || at + n > file->end ? at + n : file->end;
        atomic_fetch_add_explicit(file->log ? &log_bytes : &file_bytes, (uint64_t)n,
                                  memory_order_relaxed);
    } else if ((rc & 0xff) == SQLITE_FULL && file->log) {
        /* What did not fit is given up; what it took until then would be missing when
         * the log is carried over. */
        (void)file->real->pMethods->xTruncate(file->real, file->safe);
        file->end = file->safe;
    }
    return rc;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    own(f)->end = own(f)->end < size ? own(f)->end : size;
    own(f)->safe = own(f)->safe < size ? own(f)->safe : size;
    return real(f)->pMethods->xTruncate(real(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
    struct file *file = own(f);
    uint64_t began = bt_clock_us();
    int rc = must_fail(&fail_syncs) ? SQLITE_IOERR_FSYNC
                                    : real(f)->pMethods->xSync(real(f), flags);

    if (rc == SQLITE_OK)
        file->safe = file->end;
    atomic_fetch_add_explicit(&syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&sync_us, bt_clock_us() - began, memory_order_relaxed);
    return rc;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return real(f)->pMethods->xFileSize(real(f), out);
}

static int file_lock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}

static int file_is_reserved(sqlite3_file *f, int *out)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int file_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}

static int file_traits(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
                    int *out)
{
    struct file *file = own(f);
    int rc;

    (void)v;
    file->real = (sqlite3_file *)(file + 1);
    file->log = (flags & SQLITE_OPEN_WAL) != 0;
    rc = real_vfs->xOpen(real_vfs, name, file->real, flags, out);
    /* Without methods SQLite does not close it, as the real one wants it. */
    file->base.pMethods = file->real->pMethods != NULL ? &methods : NULL;
    file->end = 0;
    if (rc == SQLITE_OK && file->log)
        rc = file->real->pMethods->xFileSize(file->real, &file->end);
    file->safe = file->end;
    return rc;
}

static void set_up(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    if (real_vfs == NULL)
        return;
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = VFS_NAME;
    vfs.szOsFile += (int)sizeof(struct file);
    vfs.xOpen = vfs_open;
    if (sqlite3_vfs_register(&vfs, 0) == SQLITE_OK)
        vfs_name = VFS_NAME;
}

const char *bt_db_io_vfs(void)
{
    (void)pthread_once(&once, set_up);
    return vfs_name;
}
