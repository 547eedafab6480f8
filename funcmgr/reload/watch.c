/* Watching code. Each function's folder is looked at when something may have happened,
 * and again until two looks are equal; when what was found differs from what was
 * loaded, the function manager is told.
 *
 * Failure modes: a folder that is gone is looked at again until it is back; one with more
 * than the maxima is watched in part, which is logged. Without notifications (no
 * descriptors, no memory) SIGHUP is what remains. */
#include "funcmgr/reload/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "funcmgr/reload/watch_scan.h"

struct item {
    struct fm_watch *watch;
    char *name, *dir;
    bool automatic;
    bool known;     /* `loaded` holds */
    bool asked;     /* files of every kind count (SIGHUP) */
    bool told;      /* that the folder is too large */
    unsigned looks; /* since it was asked for */
    uint64_t loaded_code, loaded_all, seen;
    uint64_t settle;       /* ms */
    uint64_t renewed;      /* loop ms */
    struct bt_timer timer; /* the next look */
};

/* At files of every kind: some may change all the time. */
#define MAX_LOOKS 10u

enum kind { LOOK = 1, STOP };

struct fm_watch {
    struct fm_watch_opts opts;
    struct item *items;
    size_t n;
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    struct fm_notify *notify;
    pthread_t thread;
    bool has_thread;
    struct bt_msg look, stop;
    atomic_bool looking; /* `look` is on its way */
};

static size_t index_of(const struct item *it)
{
    return (size_t)(it - it->watch->items);
}

static void on_dir(void *arg, const char *path)
{
    const struct item *it = arg;

    if (it->automatic)
        fm_notify_dir(it->watch->notify, index_of(it), path);
}

static bool scan(struct item *it, struct fm_scan *s)
{
    struct fm_notify *n = it->automatic ? it->watch->notify : NULL;
    bool ok;

    *s = (struct fm_scan){ .arg = it, .dir = n != NULL ? on_dir : NULL };
    if (n != NULL)
        fm_notify_begin(n, index_of(it));
    ok = fm_scan(s, it->dir);
    if (n != NULL)
        fm_notify_end(n, index_of(it));
    if (s->cut && !it->told)
        bt_log(BT_LOG_WARN, "FUNC-WATCH",
               "a code folder is too large to be watched whole",
               "function=%s folders=%u files=%u", it->name, s->dirs, s->files);
    it->told |= s->cut;
    return ok;
}

static void look_later(struct item *it)
{
    if (!bt_timer_active(&it->timer))
        bt_timer_start(it->watch->loop, &it->timer, it->settle, 0);
}

static void tell(struct item *it)
{
    const struct fm_watch_opts *o = &it->watch->opts;
    size_t len = strlen(it->name) + 1;
    struct fm_watch_news *news = bt_calloc(1, sizeof(*news) + len);

    if (news == NULL)
        return;
    memcpy(news->name, it->name, len);
    news->arg = o->arg;
    news->task.run = o->run;
    news->task.msg.kind = o->kind;
    if (bt_mbox_post(o->to, &news->task.msg) != 0)
        bt_free(news);
}

static void renewed(struct item *it, const struct fm_scan *s)
{
    uint64_t now = bt_loop_ms(it->watch->loop);
    bool again = it->renewed != 0 && now - it->renewed < FM_AGAIN_MS + it->settle;

    it->settle = again ? BT_MIN(it->settle * 2, FM_SETTLE_MAX_MS) : FM_SETTLE_MS;
    it->renewed = now;
    it->loaded_code = s->code;
    it->loaded_all = s->all;
    tell(it);
}

static void look(struct item *it)
{
    struct fm_scan s;
    uint64_t what;

    if (!scan(it, &s)) {
        it->seen = 0;
        look_later(it); /* being replaced */
        return;
    }
    what = it->asked ? s.all : s.code;
    if (!it->known) {
        it->known = true;
        it->loaded_code = s.code;
        it->loaded_all = s.all;
    } else if (what == (it->asked ? it->loaded_all : it->loaded_code) ||
               (it->asked && it->looks++ > MAX_LOOKS)) {
        it->asked = false;
    } else if (what != it->seen) {
        it->seen = what;
        look_later(it);
    } else {
        it->asked = false;
        renewed(it, &s);
    }
}

static void on_timer(struct bt_timer *t)
{
    look(bt_container_of(t, struct item, timer));
}

static void poke(void *arg, size_t i)
{
    struct fm_watch *w = arg;

    if (i < w->n) {
        look_later(&w->items[i]);
        return;
    }
    for (i = 0; i < w->n; i++) {
        if (w->items[i].automatic)
            look_later(&w->items[i]);
    }
}

static void on_msg(void *arg, struct bt_msg *msg)
{
    struct fm_watch *w = arg;

    if (msg->kind == STOP) {
        bt_mbox_close(w->mbox);
        bt_loop_stop(w->loop);
        return;
    }
    atomic_store(&w->looking, false);
    for (size_t i = 0; i < w->n; i++) {
        w->items[i].asked = true;
        w->items[i].looks = 0;
        w->items[i].seen = 0;
        look(&w->items[i]);
    }
}

static void *run(void *arg)
{
    struct fm_watch *w = arg;
    const struct fm_notify_owner owner = { w->loop, w, poke };

    bt_sys_thread_name("watch");
    w->notify = fm_notify_new(&owner);
    for (size_t i = 0; i < w->n; i++)
        look(&w->items[i]);
    bt_loop_run(w->loop);
    for (size_t i = 0; i < w->n; i++)
        bt_timer_stop(w->loop, &w->items[i].timer);
    fm_notify_free(w->notify);
    return NULL;
}

static void stop(struct fm_watch *w)
{
    if (w->has_thread && bt_mbox_post(w->mbox, &w->stop) == 0)
        pthread_join(w->thread, NULL);
    w->has_thread = false;
}

void fm_watch_free(struct fm_watch *w)
{
    if (w == NULL)
        return;
    stop(w);
    for (size_t i = 0; w->items != NULL && i < w->n; i++) {
        bt_free(w->items[i].name);
        bt_free(w->items[i].dir);
    }
    bt_free(w->items);
    bt_mbox_free(w->mbox);
    bt_loop_free(w->loop);
    bt_free(w);
}

/* What an earlier watch knows of the same folder of the same function. */
static void inherit(struct item *it, const struct fm_watch *before)
{
    for (size_t i = 0; before != NULL && i < before->n; i++) {
        const struct item *old = &before->items[i];

        if (!old->known || strcmp(old->name, it->name) != 0 ||
            strcmp(old->dir, it->dir) != 0)
            continue;
        it->known = true;
        it->loaded_code = old->loaded_code;
        it->loaded_all = old->loaded_all;
    }
}

static int fill(struct fm_watch *w)
{
    w->loop = bt_loop_new("watch", false);
    if (w->loop == NULL)
        return BT_ENOMEM;
    w->mbox = bt_mbox_new(w->loop, on_msg, w);
    w->items = bt_calloc(w->n + 1, sizeof(*w->items));
    if (w->mbox == NULL || w->items == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < w->n; i++) {
        struct item *it = &w->items[i];

        it->watch = w;
        it->automatic = w->opts.items[i].automatic;
        it->settle = FM_SETTLE_MS;
        it->name = bt_strdup(w->opts.items[i].name);
        it->dir = bt_strdup(w->opts.items[i].dir);
        bt_timer_init(&it->timer, on_timer);
        if (it->name == NULL || it->dir == NULL)
            return BT_ENOMEM;
        inherit(it, w->opts.before);
    }
    return 0;
}

int fm_watch_new(const struct fm_watch_opts *opts, struct fm_watch **out)
{
    struct fm_watch *w = bt_calloc(1, sizeof(*w));

    if (w == NULL)
        return bt_origin(BT_ENOMEM, "code cannot be watched");
    if (opts->before != NULL)
        stop(opts->before);
    w->opts = *opts;
    w->n = opts->n;
    w->look.kind = LOOK;
    w->stop.kind = STOP;
    if (fill(w) != 0) {
        fm_watch_free(w);
        return bt_origin(BT_ENOMEM, "code cannot be watched");
    }
    w->opts.items = NULL;
    w->opts.before = NULL;
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        fm_watch_free(w);
        return bt_origin(BT_EIO, "the thread that watches code cannot be started");
    }
    w->has_thread = true;
    *out = w;
    return 0;
}

void fm_watch_look(struct fm_watch *w)
{
    if (!atomic_exchange(&w->looking, true) && bt_mbox_post(w->mbox, &w->look) != 0)
        atomic_store(&w->looking, false);
}
