/* When a change of code is told: after two equal looks, once. */
#include "funcmgr/reload/watch.c"

#include "tests/harness.h"

/* ---- The folder ---- */

static uint64_t code, all;
static bool gone;

bool fm_scan(struct fm_scan *s, const char *dir)
{
    (void)dir;
    s->code = code;
    s->all = all;
    return !gone;
}
struct fm_notify *fm_notify_new(const struct fm_notify_owner *owner)
{
    (void)owner;
    return NULL;
}
void fm_notify_free(struct fm_notify *n)
{
    (void)n;
}
void fm_notify_begin(struct fm_notify *n, size_t i)
{
    (void)n, (void)i;
}
void fm_notify_dir(struct fm_notify *n, size_t i, const char *path)
{
    (void)n, (void)i, (void)path;
}
void fm_notify_end(struct fm_notify *n, size_t i)
{
    (void)n, (void)i;
}

/* ---- A watch without its thread ---- */

static struct fm_watch *w;
static struct bt_loop *manager;
static struct bt_mbox *news_box;
static unsigned n_news;

static void on_news_task(struct fm_task *task)
{
    struct fm_watch_news *news = bt_container_of(task, struct fm_watch_news, task);

    CHECK_STR(news->name, "f");
    n_news++;
    bt_free(news);
}

static void on_news_msg(void *arg, struct bt_msg *msg)
{
    (void)arg;
    CHECK_INT(msg->kind, 3);
    bt_container_of(msg, struct fm_task, msg)
        ->run(bt_container_of(msg, struct fm_task, msg));
}

static void begin_watch(void)
{
    static const struct fm_watch_item item = { "f", "/code", true };

    manager = bt_loop_new("manager", false);
    news_box = bt_mbox_new(manager, on_news_msg, NULL);
    w = bt_calloc(1, sizeof(*w));
    w->opts = (struct fm_watch_opts){
        .items = &item, .n = 1, .to = news_box, .kind = 3, .run = on_news_task
    };
    w->n = 1;
    CHECK_INT(fill(w), 0);
    code = all = 10;
    gone = false;
    n_news = 0;
    look(&w->items[0]);
    CHECK(!bt_timer_active(&w->items[0].timer));
}

/* The timer's look. */
static void look_now(void)
{
    CHECK(bt_timer_active(&w->items[0].timer));
    bt_timer_stop(w->loop, &w->items[0].timer);
    look(&w->items[0]);
}

static void end_watch(unsigned news)
{
    bt_mbox_close(news_box);
    CHECK_INT(n_news, news);
    bt_mbox_free(news_box);
    bt_loop_free(manager);
    bt_timer_stop(w->loop, &w->items[0].timer);
    fm_watch_free(w);
}

TEST(told_when_it_is_over)
{
    begin_watch();
    poke(w, 0);
    look_now(); /* nothing has changed */
    CHECK(!bt_timer_active(&w->items[0].timer));
    code = 11;
    poke(w, SIZE_MAX);
    look_now();
    code = 12; /* goes on */
    look_now();
    look_now();
    CHECK(!bt_timer_active(&w->items[0].timer));
    CHECK_INT(w->items[0].loaded_code, 12);
    poke(w, 0);
    look_now();
    end_watch(1);
}

TEST(changed_back)
{
    begin_watch();
    code = 11;
    poke(w, 0);
    look_now();
    code = 10;
    look_now();
    CHECK(!bt_timer_active(&w->items[0].timer));
    end_watch(0);
}

TEST(folder_that_is_away_for_a_while)
{
    begin_watch();
    gone = true;
    poke(w, 0);
    look_now();
    look_now();
    gone = false;
    code = 11;
    look_now();
    look_now();
    end_watch(1);
}

TEST(data_counts_only_when_asked)
{
    struct bt_msg msg = { .kind = LOOK };

    begin_watch();
    all = 11;
    poke(w, 0);
    look_now();
    CHECK(!bt_timer_active(&w->items[0].timer));
    on_msg(w, &msg);
    look_now();
    CHECK(!w->items[0].asked);
    on_msg(w, &msg);
    CHECK(!bt_timer_active(&w->items[0].timer));
    /* Data that is never still. */
    all++;
    on_msg(w, &msg);
    for (unsigned i = 0; i < MAX_LOOKS; i++) {
        all++;
        look_now();
    }
    all++;
    look_now();
    CHECK(!bt_timer_active(&w->items[0].timer));
    end_watch(1);
}

TEST(code_that_changes_by_itself_is_renewed_less_and_less)
{
    begin_watch();
    for (unsigned i = 0; i < 4; i++) {
        code++;
        poke(w, 0);
        look_now();
        look_now();
    }
    CHECK_INT(w->items[0].settle, 8 * FM_SETTLE_MS);
    end_watch(4);
}
