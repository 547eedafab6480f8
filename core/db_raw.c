/* Rows from the pages of a file (sqlite.org/fileformat2.html). Trees are not followed: a
 * damaged page near the root would hide all below it. Every page is looked at instead.
 * Leaves of tables and all pages of indexes hold rows (a table WITHOUT ROWID is an
 * index); other pages have nothing to tell. Pages on the list of free pages, or that the
 * pointer map calls free, hold deleted rows and are left out.
 *
 * Nothing in the file is believed: numbers are compared with the length of the file or of
 * the page before they are used, chains are followed for as many pages as the row can
 * need. What does not fit is counted and skipped. */
#include "core/db_raw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/db_wal.h"
#include "core/error.h"
#include "core/mem.h"

#define PATH_MAX_LEN   4096
#define INDEX_INTERIOR 2
#define TABLE_INTERIOR 5
#define INDEX_LEAF     10
#define TABLE_LEAF     13
#define PTR_FREE       2 /* type in the pointer map */

struct bt_db_raw {
    int fd;
    uint32_t page_size, n_pages, file_pages;
    struct bt_db_wal wal;
    uint8_t *is_free; /* a bit for each page */
    uint8_t *page, *other;
    uint32_t now, cell, n_cells; /* page being read and the next cell of it */
    uint8_t *payload;            /* of the current row */
    size_t payload_cap;
    struct bt_db_raw_stats stats;
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

/* ---- Pages ---- */

static bool read_page(struct bt_db_raw *raw, uint32_t no, uint8_t *to)
{
    size_t have = 0;

    if (no == 0 || no > raw->n_pages)
        return false;
    if (raw->wal.page_size == raw->page_size && bt_db_wal_page(&raw->wal, no, to))
        return true;
    while (have < raw->page_size) {
        ssize_t n = pread(raw->fd, to + have, raw->page_size - have,
                          (off_t)((uint64_t)(no - 1) * raw->page_size + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    memset(to + have, 0, raw->page_size - have);
    return have > 0;
}

static bool is_set(const uint8_t *bits, uint32_t no)
{
    return (bits[no / 8] >> (no % 8) & 1) != 0;
}

static void set(uint8_t *bits, uint32_t no, bool on)
{
    uint8_t bit = (uint8_t)(1u << (no % 8));

    bits[no / 8] = (uint8_t)(on ? bits[no / 8] | bit : bits[no / 8] & ~bit);
}

static bool is_free(const struct bt_db_raw *raw, uint32_t no)
{
    return is_set(raw->is_free, no);
}

/* Adds to the list. false: it was there already, or there is no such page. */
static bool list_free(struct bt_db_raw *raw, uint32_t no, uint32_t *n)
{
    if (no < 2 || no > raw->n_pages || is_free(raw, no))
        return false;
    set(raw->is_free, no, true);
    ++*n;
    return true;
}

/* The list of free pages: trunks that name their leaves and the next trunk. Whether it is
 * as long as the file's head says. */
static bool follow_free_list(struct bt_db_raw *raw)
{
    uint32_t trunk, n, i, found = 0, want;

    if (!read_page(raw, 1, raw->page) || memcmp(raw->page, "SQLite format 3", 16) != 0)
        return false;
    trunk = be32(raw->page + 32);
    want = be32(raw->page + 36);
    while (trunk != 0 && list_free(raw, trunk, &found) &&
           read_page(raw, trunk, raw->page)) {
        n = be32(raw->page + 4);
        if (n > raw->page_size / 4 - 2)
            return false;
        for (i = 0; i < n; i++)
            (void)list_free(raw, be32(raw->page + 8 + 4 * i), &found);
        trunk = be32(raw->page);
    }
    return found == want;
}

/* Entries of five bytes: a type from 1 to 5 and the parent. */
static bool is_pointer_map(const uint8_t *page, uint32_t entries)
{
    uint32_t i, used = 0;

    for (i = 0; i < entries; i++) {
        if (page[5 * i] > 5)
            return false;
        used += page[5 * i] != 0;
    }
    return used > 0;
}

/* What the maps say about the pages they cover. Where the list is whole a page is free
 * only if both say so: rather a row twice than one too few. */
static void follow_pointer_maps(struct bt_db_raw *raw, bool list_whole)
{
    uint32_t entries = raw->page_size / 5, i;
    uint64_t map;

    if (raw->n_pages < 3 || !read_page(raw, 2, raw->page) ||
        !is_pointer_map(raw->page, BT_MIN(entries, raw->n_pages - 2)))
        return;
    for (map = 2; map < raw->n_pages; map += entries + 1) {
        uint32_t n = (uint32_t)BT_MIN((uint64_t)entries, raw->n_pages - map);

        if (!read_page(raw, (uint32_t)map, raw->page) || !is_pointer_map(raw->page, n))
            continue;
        set(raw->is_free, (uint32_t)map, true); /* a map has no rows */
        for (i = 0; i < n; i++) {
            uint32_t no = (uint32_t)map + 1 + i;

            set(raw->is_free, no,
                raw->page[5 * i] == PTR_FREE && (!list_whole || is_free(raw, no)));
        }
    }
}

/* ---- Rows ---- */

/* Length of the number at p, 0 when it does not end before `end`. */
static size_t varint(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    size_t i;

    for (i = 0; i < 9 && p + i < end; i++) {
        if (i == 8) {
            *out = v << 8 | p[i];
            return 9;
        }
        v = v << 7 | (p[i] & 0x7f);
        if ((p[i] & 0x80) == 0) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}

/* How many bytes of a payload are on the page itself. */
static size_t local_bytes(const struct bt_db_raw *raw, bool table, size_t payload)
{
    size_t u = raw->page_size, least = (u - 12) * 32 / 255 - 23;
    size_t most = table ? u - 35 : (u - 12) * 64 / 255 - 23, k;

    if (payload <= most)
        return payload;
    k = least + (payload - least) % (u - 4);
    return k <= most ? k : least;
}

static int reserve(struct bt_db_raw *raw, size_t n)
{
    uint8_t *p;

    if (n <= raw->payload_cap)
        return 0;
    p = bt_realloc(raw->payload, n);
    if (p == NULL)
        return BT_ENOMEM;
    raw->payload = p;
    raw->payload_cap = n;
    return 0;
}

/* The rest of a payload from its chain of pages. */
static bool gather(struct bt_db_raw *raw, uint32_t next, size_t have, size_t all)
{
    while (have < all) {
        size_t n = BT_MIN(all - have, (size_t)raw->page_size - 4);

        if (next < 2 || !read_page(raw, next, raw->other))
            return false;
        memcpy(raw->payload + have, raw->other + 4, n);
        next = be32(raw->other);
        have += n;
    }
    return true;
}

static int64_t big_endian_int(const uint8_t *p, size_t n)
{
    uint64_t v = (p[0] & 0x80) != 0 ? UINT64_MAX : 0;
    size_t i;

    for (i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

/* The value of a serial type at p. How many bytes it has; SIZE_MAX: not one of ours. */
static size_t value_of(uint64_t type, const uint8_t *p, size_t left,
                       struct bt_db_raw_value *v)
{
    static const uint8_t sizes[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };
    size_t n;

    *v = (struct bt_db_raw_value){ .kind = BT_DB_RAW_NULL };
    if (type >= 12) {
        if ((type - 12) / 2 > left)
            return SIZE_MAX;
        n = (size_t)((type - 12) / 2);
        v->kind = (type & 1) != 0 ? BT_DB_RAW_TEXT : BT_DB_RAW_BLOB;
        v->bytes = (struct bt_slice){ p, n };
        return n;
    }
    if (type >= BT_ARRAY_LEN(sizes) || sizes[type] > left)
        return SIZE_MAX;
    n = sizes[type];
    if (type == 7)
        v->kind = BT_DB_RAW_REAL;
    else if (type != 0)
        *v = (struct bt_db_raw_value){ .kind = BT_DB_RAW_INT,
                                       .i = n > 0 ? big_endian_int(p, n) : type == 9 };
    return n;
}

static bool decode_record(const uint8_t *p, size_t n, struct bt_db_raw_row *row)
{
    uint64_t head, type;
    size_t at = varint(p, p + n, &head), body, used;

    if (at == 0 || head > n || head < at)
        return false;
    body = (size_t)head;
    for (row->n = 0; at < head; row->n++) {
        used = varint(p + at, p + head, &type);
        if (used == 0 || row->n == BT_DB_RAW_COLUMNS)
            return false;
        at += used;
        used = value_of(type, p + body, n - body, &row->v[row->n]);
        if (used == SIZE_MAX)
            return false;
        body += used;
    }
    return body == n && row->n > 0;
}

/* The row of the cell at `at`. BT_DB_RAW_ROW, 0: not readable, BT_ENOMEM. */
static int decode_cell(struct bt_db_raw *raw, uint32_t at, struct bt_db_raw_row *row)
{
    const uint8_t *p = raw->page + at, *end = raw->page + raw->page_size;
    uint8_t type = raw->page[raw->now == 1 ? 100 : 0];
    uint64_t payload, rowid = 0;
    size_t used, local;
    int r;

    p += type == INDEX_INTERIOR ? 4 : 0;
    used = p < end ? varint(p, end, &payload) : 0;
    if (used == 0 || payload == 0 || payload > BT_DB_RAW_MAX ||
        payload > (uint64_t)raw->n_pages * raw->page_size)
        return 0;
    p += used;
    row->has_rowid = type == TABLE_LEAF;
    if (row->has_rowid) {
        used = varint(p, end, &rowid);
        if (used == 0)
            return 0;
        p += used;
    }
    row->rowid = (int64_t)rowid;
    local = local_bytes(raw, row->has_rowid, (size_t)payload);
    if (local + (local < payload ? 4 : 0) > (size_t)(end - p))
        return 0;
    if (local == payload)
        return decode_record(p, local, row) ? BT_DB_RAW_ROW : 0;
    r = reserve(raw, (size_t)payload);
    if (r < 0)
        return r;
    memcpy(raw->payload, p, local);
    if (!gather(raw, be32(p + local), local, (size_t)payload))
        return 0;
    return decode_record(raw->payload, (size_t)payload, row) ? BT_DB_RAW_ROW : 0;
}

/* Offset of the page's own header. */
static uint32_t head_at(const struct bt_db_raw *raw)
{
    return raw->now == 1 ? 100 : 0;
}

/* Reads the page `now`; n_cells is 0 when it has no rows. */
static void enter_page(struct bt_db_raw *raw)
{
    const uint8_t *h;
    uint32_t n;

    raw->cell = raw->n_cells = 0;
    if (is_free(raw, raw->now))
        return;
    if (!read_page(raw, raw->now, raw->page)) {
        raw->stats.bad_pages++;
        return;
    }
    h = raw->page + head_at(raw);
    if (h[0] != INDEX_INTERIOR && h[0] != INDEX_LEAF && h[0] != TABLE_LEAF) {
        /* A chain's page begins with a page number: below 2^24 that is a zero. */
        raw->stats.bad_pages += h[0] != 0 && h[0] != TABLE_INTERIOR;
        return;
    }
    n = be16(h + 3);
    if (n > raw->page_size / 4) {
        raw->stats.bad_pages++;
        return;
    }
    raw->n_cells = n;
}

int bt_db_raw_next(struct bt_db_raw *raw, struct bt_db_raw_row *row)
{
    for (;;) {
        const uint8_t *h = raw->page + head_at(raw);
        uint32_t at;
        int r = 0;

        if (raw->cell == raw->n_cells) {
            if (raw->now >= raw->n_pages)
                return 0;
            raw->now++;
            raw->stats.pages_done = raw->now;
            enter_page(raw);
            continue;
        }
        h += h[0] == INDEX_INTERIOR ? 12 : 8;
        at = be16(h + 2 * (size_t)raw->cell);
        raw->cell++;
        if (at >= (size_t)(h - raw->page) + 2 * (size_t)raw->n_cells &&
            at + 4 <= raw->page_size)
            r = decode_cell(raw, at, row);
        if (r != 0)
            return r;
        raw->stats.bad_cells++;
    }
}

const struct bt_db_raw_stats *bt_db_raw_stats(const struct bt_db_raw *raw)
{
    return &raw->stats;
}

/* ---- Opening ---- */

static bool size_ok(uint32_t n)
{
    return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

/* Length of a page by the file's head, or else by the log's. */
static uint32_t find_page_size(struct bt_db_raw *raw)
{
    uint8_t head[100];
    uint32_t n;

    if (pread(raw->fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        n = 0;
    else
        n = be16(head + 16) == 1 ? 65536 : be16(head + 16);
    if (!size_ok(n))
        n = raw->wal.page_size;
    return size_ok(n) ? n : 4096;
}

static int measure(struct bt_db_raw *raw)
{
    struct stat st;
    uint64_t pages;
    uint32_t i;

    if (fstat(raw->fd, &st) != 0)
        return bt_origin(BT_EIO, "looking at a database");
    raw->page_size = find_page_size(raw);
    pages = ((uint64_t)st.st_size + raw->page_size - 1) / raw->page_size;
    raw->file_pages = (uint32_t)BT_MIN(pages, UINT32_MAX - 8);
    raw->n_pages = raw->file_pages;
    for (i = 0; i < raw->wal.n_slots; i++)
        raw->n_pages = BT_MAX(raw->n_pages, BT_MIN(raw->wal.slots[i].page,
                                                   raw->file_pages + BT_DB_WAL_MAX));
    if (raw->wal.db_pages != 0 && !raw->wal.damaged)
        raw->n_pages = BT_MIN(raw->n_pages, raw->wal.db_pages);
    raw->stats.pages = raw->n_pages;
    raw->stats.log_frames = raw->wal.n_frames;
    raw->stats.bad_log_frames = raw->wal.n_bad;
    return 0;
}

static int set_up(struct bt_db_raw *raw, const char *path)
{
    char log[PATH_MAX_LEN + 8];
    int r;

    snprintf(log, sizeof(log), "%s-wal", path);
    r = bt_db_wal_open(log, &raw->wal);
    if (r < 0)
        return r;
    raw->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (raw->fd < 0)
        return bt_origin(BT_EIO, "opening a damaged database");
    r = measure(raw);
    if (r < 0)
        return r;
    raw->page = bt_calloc(1, raw->page_size);
    raw->other = bt_malloc(raw->page_size);
    raw->is_free = bt_calloc(1, (size_t)raw->n_pages / 8 + 1);
    if (raw->page == NULL || raw->other == NULL || raw->is_free == NULL)
        return BT_ENOMEM;
    return 0;
}

int bt_db_raw_open(const char *path, struct bt_db_raw **out)
{
    struct bt_db_raw *raw = bt_calloc(1, sizeof(*raw));
    int r;

    if (raw == NULL)
        return BT_ENOMEM;
    raw->fd = raw->wal.fd = -1;
    r = set_up(raw, path);
    if (r < 0) {
        bt_db_raw_close(raw);
        return r;
    }
    follow_pointer_maps(raw, follow_free_list(raw));
    *out = raw;
    return 0;
}

void bt_db_raw_close(struct bt_db_raw *raw)
{
    if (raw == NULL)
        return;
    if (raw->fd >= 0)
        (void)close(raw->fd);
    bt_db_wal_close(&raw->wal);
    bt_free(raw->page);
    bt_free(raw->other);
    bt_free(raw->is_free);
    bt_free(raw->payload);
    bt_free(raw);
}

/* Pages that should be there and are neither in the file nor in the log. */
static bool is_short(struct bt_db_raw *raw)
{
    const uint8_t *p = raw->page;
    uint32_t want = 0, no;

    if (!read_page(raw, 1, raw->page) || memcmp(p, "SQLite format 3", 16) != 0)
        return true;
    if (raw->wal.db_pages != 0)
        want = raw->wal.db_pages;
    else if (be32(p + 24) == be32(p + 92))
        want = be32(p + 28);
    for (no = raw->file_pages + 1; no <= want; no++)
        if (!bt_db_wal_page(&raw->wal, no, NULL))
            return true;
    return false;
}

int bt_db_raw_probe(const char *path)
{
    struct bt_db_raw raw = { .fd = -1, .wal = { .fd = -1 } };
    struct stat st;
    int r;

    if (stat(path, &st) != 0 && errno == ENOENT)
        return 0;
    r = set_up(&raw, path);
    if (r == 0 && raw.wal.damaged)
        r = BT_DB_RAW_DAMAGED;
    else if (r == 0 && raw.n_pages > 0 && is_short(&raw))
        r = BT_DB_RAW_DAMAGED;
    /* SQLite deletes the log of an empty file. */
    if (r == 0 && raw.file_pages == 0 && raw.wal.db_pages != 0)
        r = BT_DB_RAW_DAMAGED;
    if (raw.fd >= 0)
        (void)close(raw.fd);
    bt_db_wal_close(&raw.wal);
    bt_free(raw.page);
    bt_free(raw.other);
    bt_free(raw.is_free);
    return r;
}
