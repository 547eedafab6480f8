/* inotify. Each folder of an item is watched, and the one around its root, for the case
 * that the whole folder is replaced, or a symbolic link to it. Several items may have a
 * folder in common; the kernel gives it one number.
 *
 * Failure modes: when the user's limit of watches is reached the rest is not watched,
 * logged once; events that got lost make every item be looked at. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/reload/watch.h"
#include "funcmgr/reload/watch_scan.h"

#define MAX_PAIRS 65536u
#define EVENTS                                                                          \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | \
     IN_DELETE_SELF | IN_MOVE_SELF)

#define AROUND (IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)

/* Watch number wd is for item i. */
struct pair {
    int wd;
    uint32_t i;
    bool fresh;  /* met since fm_notify_begin */
    bool around; /* the folder around the root */
};

struct fm_notify {
    struct fm_notify_owner owner;
    int fd;
    struct bt_io io;
    struct pair *pairs;
    size_t n, cap;
    bool told;
    bool at_root; /* the next folder is the root */
};

static void on_event(struct fm_notify *n, const struct inotify_event *e)
{
    bool is_dir = e->len == 0 || (e->mask & IN_ISDIR) != 0;
    bool matters = e->len == 0 ||
                   (is_dir ? !fm_scan_is_temporary(e->name) : fm_scan_is_code(e->name));

    if ((e->mask & IN_Q_OVERFLOW) != 0) {
        n->owner.poke(n->owner.arg, SIZE_MAX);
        return;
    }
    for (size_t k = n->n; k-- > 0;) {
        if (n->pairs[k].wd != e->wd)
            continue;
        if ((e->mask & IN_IGNORED) != 0)
            n->pairs[k] = n->pairs[--n->n];
        else if (matters || n->pairs[k].around)
            n->owner.poke(n->owner.arg, n->pairs[k].i);
    }
}

static void on_readable(struct bt_io *io, unsigned events)
{
    struct fm_notify *n = bt_container_of(io, struct fm_notify, io);
    _Alignas(struct inotify_event) char buf[16384];
    ssize_t len = read(n->fd, buf, sizeof(buf));
    size_t at = 0;

    (void)events;
    while (len > 0 && at + sizeof(struct inotify_event) <= (size_t)len) {
        const struct inotify_event *e = (const struct inotify_event *)(buf + at);

        on_event(n, e);
        at += sizeof(*e) + e->len;
    }
}

struct fm_notify *fm_notify_new(const struct fm_notify_owner *owner)
{
    struct fm_notify *n = bt_calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->owner = *owner;
    n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (n->fd < 0) {
        bt_log(BT_LOG_WARN, "FUNC-WATCH", "changes of code are noticed at SIGHUP only",
               "reason=\"no inotify\"");
        bt_free(n);
        return NULL;
    }
    bt_io_init(&n->io, n->fd, on_readable);
    bt_io_start(owner->loop, &n->io, BT_READ);
    return n;
}

void fm_notify_free(struct fm_notify *n)
{
    if (n == NULL)
        return;
    bt_io_close(n->owner.loop, &n->io);
    bt_free(n->pairs);
    bt_free(n);
}

static bool add_pair(struct fm_notify *n, struct pair p)
{
    struct pair *more;

    for (size_t k = 0; k < n->n; k++) {
        if (n->pairs[k].wd == p.wd && n->pairs[k].i == p.i) {
            n->pairs[k].fresh = true;
            return true;
        }
    }
    if (n->n == n->cap) {
        size_t cap = n->cap == 0 ? 32 : n->cap * 2;

        more = cap > MAX_PAIRS ? NULL : bt_realloc(n->pairs, cap * sizeof(*more));
        if (more == NULL)
            return false;
        n->pairs = more;
        n->cap = cap;
    }
    n->pairs[n->n++] = p;
    return true;
}

static void watch_path(struct fm_notify *n, size_t i, const char *path, bool is_around)
{
    const uint32_t events = is_around ? AROUND : EVENTS;
    int wd = inotify_add_watch(n->fd, path, events | IN_ONLYDIR | IN_MASK_ADD);
    bool ok = wd >= 0 && add_pair(n, (struct pair){ wd, (uint32_t)i, true, is_around });

    if (ok || n->told)
        return;
    n->told = true;
    bt_log(BT_LOG_WARN, "FUNC-WATCH", "a folder of code cannot be watched",
           "path=" BT_LOG_Q " reason=" BT_LOG_Q, path,
           wd < 0 ? strerror(errno) : "too many");
}

void fm_notify_begin(struct fm_notify *n, size_t i)
{
    for (size_t k = 0; k < n->n; k++) {
        if (n->pairs[k].i == i)
            n->pairs[k].fresh = false;
    }
    n->at_root = true;
}

/* "a/b" -> "a". */
static bool dir_around(const char *path, char out[PATH_MAX])
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || len >= PATH_MAX)
        return false;
    memcpy(out, path, len);
    out[len] = '\0';
    return true;
}

void fm_notify_dir(struct fm_notify *n, size_t i, const char *path)
{
    char around[PATH_MAX];

    if (n->at_root && dir_around(path, around))
        watch_path(n, i, around, true);
    n->at_root = false;
    watch_path(n, i, path, false);
}

static bool is_used(const struct fm_notify *n, int wd)
{
    for (size_t k = 0; k < n->n; k++) {
        if (n->pairs[k].wd == wd)
            return true;
    }
    return false;
}

/* Folders that are no longer part of the item. */
void fm_notify_end(struct fm_notify *n, size_t i)
{
    for (size_t k = n->n; k-- > 0;) {
        int wd = n->pairs[k].wd;

        if (n->pairs[k].i != i || n->pairs[k].fresh)
            continue;
        n->pairs[k] = n->pairs[--n->n];
        if (!is_used(n, wd))
            (void)inotify_rm_watch(n->fd, wd);
    }
}
