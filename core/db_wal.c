/* Reading a write-ahead log (sqlite.org/fileformat2.html#walformat). A frame is a header
 * of 24 bytes and a page; its checksum goes on from that of the frame before, which is
 * stored there, so each frame can be judged by itself, also behind a damaged one. Frames
 * of an earlier generation, recognised by their salt, are what is left behind the end.
 *
 * SQLite stops at the first frame it cannot believe and drops all that follows in
 * silence, because that is what a loss of power leaves: a last transaction that is not
 * complete. A damaged frame in front of later commits is something else: it was on the
 * disk once, so what follows was promised to somebody. Such a log is called damaged, and
 * so is one whose head cannot be read.
 *
 * Only frames up to the last readable commit count; of a page the last frame. */
#include "core/db_wal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"

#define MAGIC         0x377f0682u /* the last bit: checksums of big-endian numbers */
#define MAX_PAGE_SIZE 65536u

struct sum {
    uint32_t a, b;
};

/* One pass over the frames. */
struct scan {
    struct bt_db_wal *w;
    uint8_t head[BT_DB_WAL_HEAD];
    bool head_ok, big_endian;
    uint32_t salt[2];
    struct sum stored, computed; /* of the frame before */
    uint32_t first_bad;          /* from 1; 0 = none */
    uint32_t bad_was_commit, commits_after_bad;
    uint32_t last_commit;
    uint8_t *frame;  /* BT_DB_WAL_FRAME + page_size bytes */
    uint32_t *pages; /* page of each frame, 0 = not readable */
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static struct sum add_sum(struct sum s, bool big_endian, const uint8_t *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        s.a += (big_endian ? be32(p) : le32(p)) + s.b;
        s.b += (big_endian ? be32(p + 4) : le32(p + 4)) + s.a;
    }
    return s;
}

static bool same(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

static bool page_size_ok(uint32_t n)
{
    return n >= 512 && n <= MAX_PAGE_SIZE && (n & (n - 1)) == 0;
}

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    uint8_t *p = to;

    while (n > 0) {
        ssize_t got = pread(fd, p, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

static void read_head(struct scan *s)
{
    const uint8_t *h = s->head;
    uint32_t size;

    size = be32(h + 8);
    s->big_endian = be32(h) == (MAGIC | 1);
    s->stored = (struct sum){ be32(h + 24), be32(h + 28) };
    s->computed = add_sum((struct sum){ 0, 0 }, s->big_endian, h, 24);
    s->head_ok =
        (be32(h) & ~1u) == MAGIC && page_size_ok(size) && same(s->stored, s->computed);
    s->w->page_size = page_size_ok(size) ? size : 4096;
    s->salt[0] = be32(h + 16);
    s->salt[1] = be32(h + 20);
}

/* One frame, number i from 1. false: it belongs to an earlier generation. */
static bool judge(struct scan *s, uint32_t i)
{
    const uint8_t *f = s->frame;
    struct sum stored = { be32(f + 16), be32(f + 20) }, x, y;
    bool salt_ok = be32(f + 8) == s->salt[0] && be32(f + 12) == s->salt[1];
    uint32_t page = be32(f), commit = be32(f + 4);
    size_t n = s->w->page_size;

    x = add_sum(add_sum(s->stored, s->big_endian, f, 8), s->big_endian,
                f + BT_DB_WAL_FRAME, n);
    y = add_sum(add_sum(s->computed, s->big_endian, f, 8), s->big_endian,
                f + BT_DB_WAL_FRAME, n);
    s->pages[i - 1] = 0;
    if (salt_ok && page != 0 && (same(x, stored) || same(y, stored))) {
        s->pages[i - 1] = page;
        if (commit != 0) {
            s->last_commit = i;
            s->w->db_pages = commit;
            s->commits_after_bad += s->first_bad != 0;
        }
    } else if (s->first_bad == 0) {
        s->first_bad = i;
        s->bad_was_commit = salt_ok && commit != 0;
    }
    s->stored = stored;
    s->computed = x;
    return salt_ok;
}

static int index_pages(struct scan *s)
{
    struct bt_db_wal *w = s->w;
    uint32_t i;

    for (w->n_slots = 64; w->n_slots < 2 * s->last_commit;)
        w->n_slots *= 2;
    w->slots = bt_calloc(w->n_slots, sizeof(*w->slots));
    if (w->slots == NULL)
        return BT_ENOMEM;
    for (i = 1; i <= s->last_commit; i++) {
        uint32_t page = s->pages[i - 1], at = (page * 2654435761u) & (w->n_slots - 1);

        w->n_bad += page == 0;
        if (page == 0)
            continue;
        while (w->slots[at].page != 0 && w->slots[at].page != page)
            at = (at + 1) & (w->n_slots - 1);
        w->slots[at].page = page;
        w->slots[at].frame = i;
    }
    return 0;
}

/* Without a head: the salt of the first frame that goes on from the one before it. */
static void find_salt(struct scan *s, uint32_t n, uint64_t step)
{
    struct sum seed = { 0, 0 }, stored;
    uint32_t i;

    for (i = 1; i <= n; i++) {
        if (!read_at(s->w->fd, s->frame, (size_t)step, BT_DB_WAL_HEAD + (i - 1) * step))
            continue;
        stored = (struct sum){ be32(s->frame + 16), be32(s->frame + 20) };
        seed = add_sum(seed, s->big_endian, s->frame, 8);
        seed = add_sum(seed, s->big_endian, s->frame + BT_DB_WAL_FRAME, s->w->page_size);
        if (same(seed, stored) && be32(s->frame) != 0) {
            s->salt[0] = be32(s->frame + 8);
            s->salt[1] = be32(s->frame + 12);
            return;
        }
        seed = stored;
    }
}

static int scan_frames(struct scan *s, uint64_t size)
{
    struct bt_db_wal *w = s->w;
    uint64_t step = BT_DB_WAL_FRAME + w->page_size;
    uint32_t i, n = (uint32_t)BT_MIN((size - BT_DB_WAL_HEAD) / step, BT_DB_WAL_MAX);

    if (n == 0)
        return 0;
    s->frame = bt_malloc((size_t)step);
    s->pages = bt_malloc(n * sizeof(*s->pages));
    if (s->frame == NULL || s->pages == NULL)
        return BT_ENOMEM;
    if (!s->head_ok)
        find_salt(s, n, step);
    for (i = 1; i <= n; i++) {
        if (!read_at(w->fd, s->frame, (size_t)step, BT_DB_WAL_HEAD + (i - 1) * step)) {
            s->pages[i - 1] = 0;
            continue;
        }
        if (judge(s, i))
            w->n_frames = i;
    }
    w->damaged = !s->head_ok || s->commits_after_bad > 1 ||
                 (s->commits_after_bad == 1 && s->bad_was_commit);
    return index_pages(s);
}

int bt_db_wal_open(const char *path, struct bt_db_wal *out)
{
    struct scan s = { .w = out };
    struct stat st;
    int r = 0;

    *out = (struct bt_db_wal){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
    if (out->fd < 0)
        return errno == ENOENT ? 0 : bt_origin(BT_EIO, "opening a database's log");
    if (fstat(out->fd, &st) != 0)
        r = bt_origin(BT_EIO, "looking at a database's log");
    else if ((uint64_t)st.st_size > BT_DB_WAL_HEAD &&
             read_at(out->fd, s.head, sizeof(s.head), 0)) {
        read_head(&s);
        r = scan_frames(&s, (uint64_t)st.st_size);
    }
    bt_free(s.frame);
    bt_free(s.pages);
    if (r < 0)
        bt_db_wal_close(out);
    return r;
}

void bt_db_wal_close(struct bt_db_wal *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    w->fd = -1;
    bt_free(w->slots);
    w->slots = NULL;
    w->n_slots = 0;
}

bool bt_db_wal_page(const struct bt_db_wal *w, uint32_t page, uint8_t *to)
{
    uint32_t at = (page * 2654435761u) & (w->n_slots - 1);
    uint64_t step = BT_DB_WAL_FRAME + w->page_size;

    if (w->n_slots == 0)
        return false;
    while (w->slots[at].page != 0 && w->slots[at].page != page)
        at = (at + 1) & (w->n_slots - 1);
    if (w->slots[at].page == 0)
        return false;
    return to == NULL ||
           read_at(w->fd, to, w->page_size,
                   BT_DB_WAL_HEAD + (w->slots[at].frame - 1) * step + BT_DB_WAL_FRAME);
}
