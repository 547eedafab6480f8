/* Mending: the damaged database stays, under another name, and what was salvaged takes
 * its place. A process can be killed at any point of it; the next one goes on:
 *
 *   hub.db.check      the note: there is something to check. Goes last.
 *   hub.db.salvage    being filled; of no use to the next process, which starts over
 *   hub.db.salvaged   complete. From here on the names are exchanged:
 *     hub.db          -> hub.db.damaged-TIME
 *     hub.db-wal      -> hub.db.damaged-TIME-wal
 *     hub.db.salvaged -> hub.db
 *
 * TIME is that of the salvaged file's last change, so it is the same for the process that
 * finishes. Nothing is ever removed but what this file made. Failure: without space for a
 * copy there is no salvage; the damaged file is kept all the same and says so in the log.
 */
#include "hub/store/store_salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/metric.h"
#include "core/sys.h"

#define NAME_MAX_LEN (HUB_STORE_PATH_MAX + 64) /* a path and its longest end */
#define MAX_TRIES    100

static struct bt_metric m_salvages =
    BT_METRIC("baetyl_store_salvages_total", BT_COUNTER,
              "Times a damaged store was replaced by what could be read of it.");
static struct bt_metric m_kept =
    BT_METRIC("baetyl_store_salvaged_rows_total", BT_COUNTER,
              "Rows that were taken over from damaged stores.");
static struct bt_metric m_lost =
    BT_METRIC("baetyl_store_lost_rows_total", BT_COUNTER,
              "Rows of damaged stores that are known to be lost.");

static void name(char out[NAME_MAX_LEN], const char *path, const char *end)
{
    (void)snprintf(out, NAME_MAX_LEN, "%.*s%.60s", HUB_STORE_PATH_MAX, path, end);
}

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* New names must be on the disk before the next step counts on them. */
static void synchronise_folder(const char *path)
{
    char dir[NAME_MAX_LEN];
    char *slash;
    int fd;

    name(dir, path, "");
    slash = strrchr(dir, '/');
    if (slash != NULL)
        *slash = '\0';
    fd = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!fsync(fd);
    (void)close(fd);
}

/* ---- The note ---- */

void hub_store_note(const char *path)
{
    char note[NAME_MAX_LEN];
    int fd;

    name(note, path, ".check");
    fd = open(note, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
    synchronise_folder(path);
}

bool hub_store_noted(const char *path)
{
    char note[NAME_MAX_LEN];

    name(note, path, ".check");
    return exists(note);
}

void hub_store_unnote(const char *path)
{
    char note[NAME_MAX_LEN];

    name(note, path, ".check");
    (void)unlink(note);
}

/* ---- Names ---- */

/* path.damaged-20260131T120000.123Z: without what shells and file systems do not like. */
static void damaged_name(char out[NAME_MAX_LEN], const char *path, int64_t when_ms)
{
    char when[BT_CLOCK_TEXT_LEN], end[BT_CLOCK_TEXT_LEN + 16];
    char *p, *q;

    bt_clock_text(when_ms, when);
    for (p = q = when; *p != '\0'; p++)
        if (*p != '-' && *p != ':')
            *q++ = *p;
    *q = '\0';
    (void)snprintf(end, sizeof(end), ".damaged-%s", when);
    name(out, path, end);
}

static int64_t changed_ms(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return bt_clock_wall_ms();
    return bt_sys_mtime_ns(&st) / 1000000;
}

static int move(const char *from, const char *to)
{
    if (rename(from, to) == 0 || errno == ENOENT)
        return 0;
    return bt_origin(BT_EIO, "setting a damaged database aside");
}

/* Moves database and log to the name of that time. An earlier file of that name, which
 * only a clock that was set back can make, is never replaced. */
static int move_damaged(const char *path, int64_t when_ms)
{
    char to[NAME_MAX_LEN], log[NAME_MAX_LEN], to_log[NAME_MAX_LEN];
    int tries, r;

    name(log, path, "-wal");
    for (tries = 0; tries < MAX_TRIES; tries++) {
        damaged_name(to, path, when_ms + tries);
        name(to_log, to, "-wal");
        if (!(exists(path) && exists(to)) && !(exists(log) && exists(to_log)))
            break;
    }
    r = move(path, to);
    synchronise_folder(path);
    if (r == 0 && exists(log))
        r = move(log, to_log);
    if (r == 0)
        bt_log(BT_LOG_ERROR, "HUB-STORE-DAMAGED", "store was damaged and set aside",
               "file=\"%s\"", to);
    return r;
}

int hub_store_set_aside(const char *path)
{
    return move_damaged(path, bt_clock_wall_ms());
}

int hub_store_mend_finish(const char *path)
{
    char salvaged[NAME_MAX_LEN], scrap[NAME_MAX_LEN];
    int r;

    name(scrap, path, ".salvage");
    (void)unlink(scrap);
    name(scrap, path, ".salvage-wal");
    (void)unlink(scrap);
    name(salvaged, path, ".salvaged");
    if (!exists(salvaged))
        return 0;
    r = move_damaged(path, changed_ms(salvaged));
    if (r == 0)
        r = move(salvaged, path);
    synchronise_folder(path);
    if (r == 0)
        hub_store_unnote(path);
    return r;
}

/* ---- Mending ---- */

static void report(const struct hub_store_salvaged *s, uint64_t ms)
{
    size_t i;

    bt_metric_register(&m_salvages);
    bt_metric_register(&m_kept);
    bt_metric_register(&m_lost);
    bt_metric_add(&m_salvages, 1);
    for (i = 0; i < HUB_STORE_TABLES; i++) {
        const struct hub_store_toll *t = &s->tables[i];

        if (t->table == NULL)
            continue;
        bt_log(BT_LOG_WARN, "HUB-STORE-SALVAGED", "rows of the damaged store",
               "table=%s kept=%llu dropped=%llu lost=%llu", t->table,
               (unsigned long long)t->kept, (unsigned long long)t->dropped,
               (unsigned long long)t->lost);
        bt_metric_add(&m_kept, (int64_t)t->kept);
        bt_metric_add(&m_lost, (int64_t)t->lost);
    }
    bt_log(BT_LOG_WARN, "HUB-STORE-MENDED", "store was salvaged into a new one",
           "pages=%u bad_pages=%u bad_cells=%llu bad_log_frames=%u ms=%llu", s->pages,
           s->bad_pages, (unsigned long long)s->bad_cells, s->bad_log_frames,
           (unsigned long long)ms);
}

int hub_store_mend(const char *path)
{
    char salvage[NAME_MAX_LEN], salvaged[NAME_MAX_LEN];
    struct hub_store_salvaged out;
    uint64_t began_ms = bt_clock_ms();
    int r;

    hub_store_note(path);
    name(salvage, path, ".salvage");
    name(salvaged, path, ".salvaged");
    r = hub_store_salvage(path, salvage, &out);
    if (r == 0)
        r = move(salvage, salvaged);
    if (r < 0) {
        bt_log(BT_LOG_ERROR, "HUB-STORE-LOST",
               "the damaged store could not be salvaged; an empty one is started",
               "error=" BT_LOG_Q, bt_error_text(r));
        (void)unlink(salvage);
        r = hub_store_set_aside(path);
        if (r == 0)
            hub_store_unnote(path);
        return r;
    }
    synchronise_folder(path);
    report(&out, bt_clock_ms() - began_ms);
    return hub_store_mend_finish(path);
}
