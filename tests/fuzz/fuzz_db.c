/* A damaged database and its log: the pages are read and every row of them is looked at.
 * The first two bytes are the length of the log, which stands behind them; the rest is
 * the database. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/db_raw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], path[96], log_path[104];

static void clean(void)
{
    (void)unlink(path);
    (void)unlink(log_path);
    (void)rmdir(dir);
}

/* In memory where there is such a place: two files for every input. */
static void set_up(void)
{
    const char *at = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    (void)snprintf(dir, sizeof(dir), "%s/baetyl-fuzz-XXXXXX", at);
    if (mkdtemp(dir) == NULL)
        abort();
    (void)snprintf(path, sizeof(path), "%s/db", dir);
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", path);
    (void)atexit(clean);
}

static void put(const char *to, const uint8_t *p, size_t n)
{
    int fd = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    (void)close(fd);
}

/* Reads every byte that a row says it has. */
static unsigned look_at(const struct bt_db_raw_row *row)
{
    unsigned sum = 0;

    for (uint32_t i = 0; i < row->n; i++)
        for (size_t k = 0; k < row->v[i].bytes.len; k++)
            sum += row->v[i].bytes.ptr[k];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile unsigned sink;
    struct bt_db_raw_row row;
    struct bt_db_raw *raw;
    size_t log;

    if (dir[0] == '\0')
        set_up();
    if (size < 2)
        return 0;
    log = (size_t)data[0] << 8 | data[1];
    log = log < size - 2 ? log : size - 2;
    put(log_path, data + 2, log);
    put(path, data + 2 + log, size - 2 - log);
    if (bt_db_raw_probe(path) < 0 || bt_db_raw_open(path, &raw) != 0)
        return 0;
    while (bt_db_raw_next(raw, &row) == BT_DB_RAW_ROW)
        sink += look_at(&row);
    bt_db_raw_close(raw);
    return 0;
}
