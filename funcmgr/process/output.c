/* Lines of an instance to the log. A handler may print what it likes: long lines are cut,
 * lines beyond the limit of a window are counted and dropped, and reading never stops, so
 * that a printing handler does not block and does not fill memory. */
#include "funcmgr/process/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "funcmgr/process/instance.h"

/* Reads per turn: the other instances want theirs, too. */
#define READS_PER_TURN 4

static void say_held(struct fm_output *o)
{
    if (o->held > 0)
        bt_log(BT_LOG_WARN, "FUNC-OUTPUT-HELD", "a function printed too many lines",
               "instance=%s dropped=%llu", o->name, (unsigned long long)o->held);
    o->held = 0;
}

bool fm_output_may(struct fm_output *o)
{
    uint64_t now = bt_loop_ms(o->loop);

    if (now - o->window >= FM_OUTPUT_WINDOW_MS) {
        say_held(o);
        o->window = now;
        o->lines = 0;
    }
    if (o->lines++ < o->max_lines)
        return true;
    o->held++;
    return false;
}

static void emit(struct fm_output *o)
{
    o->line[o->len] = '\0';
    if (fm_output_may(o))
        bt_log_own(BT_LOG_INFO, "FUNC-OUTPUT", "a function printed",
                   "instance=%s line=\"%s\"", o->name, o->line);
    o->len = 0;
}

void fm_output_log(struct fm_output *o, uint32_t level, struct bt_slice text)
{
    char copy[FM_OUTPUT_LINE_MAX + 1];
    size_t max = BT_MIN(o->max_line * FM_OUTPUT_REPORT, sizeof(copy) - 1);
    size_t n = BT_MIN(text.len, max);

    level = BT_MIN(level, (uint32_t)BT_LOG_DEBUG);
    if (!bt_log_enabled((enum bt_log_level)level) || !fm_output_may(o))
        return;
    memcpy(copy, text.ptr, n);
    copy[n] = '\0';
    bt_log_own((enum bt_log_level)level, "FUNC-LOG", "a function reports",
               "instance=%s text=" BT_LOG_Q, o->name, copy);
}

static void take(struct fm_output *o, const uint8_t *p, size_t len)
{
    while (len > 0) {
        const uint8_t *end = memchr(p, '\n', len);
        size_t n = end != NULL ? (size_t)(end - p) : len;
        size_t keep = BT_MIN(n, o->max_line - o->len);

        memcpy(o->line + o->len, p, keep);
        o->len += keep;
        if (end == NULL)
            return;
        emit(o);
        p += n + 1;
        len -= n + 1;
    }
}

static void close_now(struct fm_output *o)
{
    if (o->len > 0)
        emit(o);
    say_held(o);
    bt_io_stop(o->loop, &o->io);
    close(o->fd);
    o->fd = -1;
}

/* False when there is no more for now, or ever. */
static bool read_some(struct fm_output *o)
{
    ssize_t n = read(o->fd, o->chunk, FM_READ_CHUNK);

    if (n > 0) {
        take(o, o->chunk, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_now(o);
    return false;
}

static void on_readable(struct bt_io *io, unsigned events)
{
    struct fm_output *o = bt_container_of(io, struct fm_output, io);

    (void)events;
    for (int i = 0; i < READS_PER_TURN && read_some(o); i++)
        ;
}

void fm_output_start(struct fm_output *o, struct bt_loop *loop, const char *name,
                     uint8_t *chunk, int fd)
{
    o->loop = loop;
    o->name = name;
    o->chunk = chunk;
    o->fd = fd;
    o->max_lines = o->max_lines > 0 ? o->max_lines : FM_OUTPUT_BURST;
    o->max_line = o->max_line > 0 ? o->max_line : FM_OUTPUT_LINE;
    o->window = bt_loop_ms(loop);
    bt_io_init(&o->io, fd, on_readable);
    bt_io_start(loop, &o->io, BT_READ);
}

void fm_output_close(struct fm_output *o)
{
    /* The last words of a process that ended are still in the pipe; a pipe holds 64 KiB
     * to 1 MiB. */
    for (int i = 0; o->fd >= 0 && i < 16 && read_some(o); i++)
        ;
    if (o->fd >= 0)
        close_now(o);
}
