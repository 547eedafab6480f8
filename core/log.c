/* The idea: a line is formatted on the caller's stack and written under one lock with one
 * write. The level is an atomic, so a line that is off costs a load. Before formatting,
 * the line's kind (id and sentence) is looked up in a small table of counters; a kind
 * over its limit is only counted, and its next line says how many are missing.
 *
 * Failure: a line that cannot be written is dropped and counted in
 * baetyl_log_lines_lost_total; the program never waits for or fails because of its log.
 */
#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log_format.h"
#include "core/log_rotate.h"
#include "core/metric.h"

#define N_KINDS     256 /* a power of two */
#define N_PROBES    8
#define PAIRS_MAX   3072
#define MAX_SIZE_MB 1048576u

/* How often one kind of line came in its current window. */
struct kind {
    uint64_t hash; /* 0 = free */
    uint64_t window_ms;
    uint64_t held;
    uint32_t lines;
};

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* guards the sink and the kinds */
static struct bt_log_file file = { .fd = -1 };
static enum bt_log_format format;
static struct kind kinds[N_KINDS];
static _Atomic unsigned max_level = BT_LOG_INFO;
static struct bt_metric lost = BT_METRIC("baetyl_log_lines_lost_total", BT_COUNTER,
                                         "Log lines that could not be written.");
static struct bt_metric held_back =
    BT_METRIC("baetyl_log_lines_held_back_total", BT_COUNTER,
              "Log lines held back because they repeat.");

bool bt_log_enabled(enum bt_log_level level)
{
    return (unsigned)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void bt_log_set_level(enum bt_log_level level)
{
    atomic_store_explicit(&max_level, (unsigned)level, memory_order_relaxed);
}

int bt_log_open(const struct bt_log_conf *conf)
{
    struct bt_log_file next = { .fd = -1 };

    bt_metric_register(&lost);
    bt_metric_register(&held_back);
    if (conf->path != NULL && conf->path[0] != '\0') {
        next.max_size = (uint64_t)BT_MIN(conf->size_mb, MAX_SIZE_MB) * 1024u * 1024u;
        next.age_days = conf->age_days;
        next.backup_count = conf->backup_count;
        if (bt_log_file_open(&next, conf->path) != 0) {
            bt_log(BT_LOG_ERROR, "CORE-LOG", "cannot open the log file (logger.path)",
                   "path=%s error=" BT_LOG_Q, conf->path, strerror(errno));
            return BT_EIO;
        }
    }
    pthread_mutex_lock(&lock);
    bt_log_file_close(&file);
    file = next;
    format = conf->format == BT_LOG_JSON ? BT_LOG_JSON : BT_LOG_TEXT;
    pthread_mutex_unlock(&lock);
    bt_log_set_level((enum bt_log_level)BT_MIN(conf->level, (uint32_t)BT_LOG_DEBUG));
    return 0;
}

void bt_log_close(void)
{
    pthread_mutex_lock(&lock);
    bt_log_file_close(&file);
    pthread_mutex_unlock(&lock);
}

/* FNV-1a over both strings; never 0. */
static uint64_t hash_kind(const char *id, const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *id != '\0'; id++)
        h = (h ^ (uint8_t)*id) * 0x100000001b3u;
    h = (h ^ 0xffu) * 0x100000001b3u;
    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    return h != 0 ? h : 1;
}

/* The kind's counters; when its neighbourhood is full the one idle for longest is
 * forgotten. */
static struct kind *find_kind(uint64_t hash, uint64_t now_ms)
{
    struct kind *oldest = NULL;
    unsigned i;

    for (i = 0; i < N_PROBES; i++) {
        struct kind *k = &kinds[(hash + i) % N_KINDS];

        if (k->hash == hash)
            return k;
        if (oldest == NULL ||
            (oldest->hash != 0 && (k->hash == 0 || k->window_ms < oldest->window_ms)))
            oldest = k;
    }
    *oldest = (struct kind){ .hash = hash, .window_ms = now_ms };
    return oldest;
}

/* Whether the line may pass; then *held is how many before it did not. Under the lock. */
static bool may_pass(const char *id, const char *text, uint64_t *held)
{
    uint64_t now_ms = bt_clock_ms();
    struct kind *k = find_kind(hash_kind(id, text), now_ms);

    if (now_ms - k->window_ms >= BT_LOG_WINDOW_MS) {
        k->window_ms = now_ms;
        k->lines = 0;
    }
    if (k->lines >= BT_LOG_BURST) {
        k->held++;
        bt_metric_add(&held_back, 1);
        return false;
    }
    k->lines++;
    *held = k->held;
    k->held = 0;
    return true;
}

static bool check_in(const struct bt_log_record *r, uint64_t *held)
{
    bool pass;

    *held = 0;
    if (r->level == BT_LOG_DEBUG)
        return true;
    pthread_mutex_lock(&lock);
    pass = may_pass(r->id, r->text, held);
    pthread_mutex_unlock(&lock);
    return pass;
}

static void write_line(const char *line, size_t n, int64_t wall_ms)
{
    bool to_stderr = file.fd < 0 || bt_log_enabled(BT_LOG_DEBUG);
    bool failed = file.fd >= 0 && bt_log_file_write(&file, line, n, wall_ms) != 0;

    if (to_stderr)
        failed |= write(STDERR_FILENO, line, n) != (ssize_t)n;
    if (failed)
        bt_metric_add(&lost, 1);
}

/* The format's pairs become the line's; errno is kept for the caller. */
static void write_record(struct bt_log_record *r, const char *fmt, va_list args)
    BT_PRINTF(2, 0);

static void write_record(struct bt_log_record *r, const char *fmt, va_list args)
{
    char line[BT_LOG_LINE_MAX], pairs[PAIRS_MAX];
    size_t n;

    r->pairs = pairs;
    if (vsnprintf(pairs, sizeof(pairs), fmt, args) < 0)
        pairs[0] = '\0';
    r->wall_ms = bt_clock_wall_ms();
    pthread_mutex_lock(&lock);
    n = format == BT_LOG_JSON ? bt_log_format_json(r, line) : bt_log_format_text(r, line);
    write_line(line, n, r->wall_ms);
    pthread_mutex_unlock(&lock);
}

void bt_log_write(enum bt_log_level level, const char *id, const char *text,
                  const char *fmt, ...)
{
    int saved = errno;
    struct bt_log_record r = { .level = level, .id = id, .text = text };
    va_list args;

    if (!check_in(&r, &r.held))
        return;
    va_start(args, fmt);
    write_record(&r, fmt, args);
    va_end(args);
    errno = saved;
}

void bt_log_write_own(enum bt_log_level level, const char *id, const char *text,
                      const char *fmt, ...)
{
    int saved = errno;
    struct bt_log_record r = { .level = level, .id = id, .text = text };
    va_list args;

    va_start(args, fmt);
    write_record(&r, fmt, args);
    va_end(args);
    errno = saved;
}
