/* Notices when the code of functions changes, and that it does no more: half-copied code
 * must not be loaded. One thread, which reads folders; nobody else waits for the disk.
 *
 * A change is noticed by the system's notifications (funcmgr/reload/watch_linux.c) or by
 * looking from time to time (funcmgr/reload/watch_darwin.c); whether it is one, and
 * whether it is over, is told by two equal looks FM_SETTLE_MS apart
 * (funcmgr/reload/watch_scan.h). */
#ifndef FUNCMGR_WATCH_H
#define FUNCMGR_WATCH_H

#include "core/loop.h"
#include "funcmgr/task.h"

#define FM_SETTLE_MS 500u
/* Code that changes again so soon after it was renewed settles for longer each time, up
 * to the maximum: a function that writes code of its own must not be renewed for ever. */
#define FM_AGAIN_MS      10000u
#define FM_SETTLE_MAX_MS 32000u

struct fm_watch;

struct fm_watch_item {
    const char *name; /* of the function */
    const char *dir;  /* absolute path of its code */
    bool automatic;   /* by itself, not only at fm_watch_look */
};

/* The code of a function has changed; a task of the function manager's thread. */
struct fm_watch_news {
    struct fm_task task;
    void *arg;
    char name[]; /* of the function */
};

struct fm_watch_opts {
    const struct fm_watch_item *items; /* copied */
    size_t n;
    struct fm_watch *before; /* NULL, or the one that this replaces: it is stopped, and
                                what it knows to be loaded is known here, too */
    struct bt_mbox *to;      /* of the function manager; outlives the watch */
    uint32_t kind;           /* of the messages: FM_MSG_TASK */
    void *arg;
    /* On the function manager's thread; takes the news (bt_free). */
    void (*run)(struct fm_task *task);
};

/* Any thread. 0, or a fatal code, logged. */
int fm_watch_new(const struct fm_watch_opts *opts, struct fm_watch **out) BT_MUST_CHECK;
/* Look at all folders now, and at files of every kind (SIGHUP). Any thread. */
void fm_watch_look(struct fm_watch *w);
/* Ends the thread; waits while it reads a folder. NULL is fine. */
void fm_watch_free(struct fm_watch *w);

/* ---- The system's part; the watch's thread. ---- */
struct fm_notify;

struct fm_notify_owner {
    struct bt_loop *loop;
    void *arg;
    /* Something may have changed in a folder of item i; SIZE_MAX: of any. */
    void (*poke)(void *arg, size_t i);
};

/* NULL: no memory or no descriptors; nothing is noticed then. */
struct fm_notify *fm_notify_new(const struct fm_notify_owner *owner) BT_MUST_CHECK;
void fm_notify_free(struct fm_notify *n); /* NULL is fine */
/* The folders of item i from now on: begin, each folder, end. */
void fm_notify_begin(struct fm_notify *n, size_t i);
void fm_notify_dir(struct fm_notify *n, size_t i, const char *path);
void fm_notify_end(struct fm_notify *n, size_t i);

#endif
