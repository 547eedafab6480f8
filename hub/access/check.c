/* The password thread. Checks wait in one list; the next one is that with the lowest
 * turn. A newcomer's turn is one more than the last of its own address, or than the one
 * served now: so an address that floods waits for itself, and others pass it.
 *
 * One check is computed in each loop turn, so that newcomers are seen in between. Failure
 * modes: too many wait: the one with the highest turn is answered "busy"; the asker's
 * mailbox is closed (the hub ends): the check is freed. */
#include "hub/access/check.h"

#include <pthread.h>
#include <string.h>

#include "core/error.h"
#include "core/loop.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/settings.h"

#define QUIT UINT32_MAX

struct hub_checker {
    pthread_t thread;
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    struct bt_timer next;
    struct bt_msg quit;
    struct hub_check *waiting[HUB_CHECK_MAX];
    uint32_t n;
    uint64_t served; /* the turn of the last one */
};

struct hub_check *hub_check_new(struct hub_settings *settings, struct bt_slice password)
{
    struct hub_check *c = bt_calloc(1, sizeof(*c) + password.len);

    if (c == NULL)
        return NULL;
    c->settings = hub_settings_ref(settings);
    c->password_len = password.len;
    if (password.len > 0)
        memcpy(c->password, password.ptr, password.len);
    return c;
}

void hub_check_free(struct hub_check *c)
{
    if (c == NULL)
        return;
    bt_wipe(c->password, c->password_len);
    hub_settings_unref(c->settings);
    bt_free(c);
}

static void give_back(struct hub_check *c)
{
    c->msg.kind = c->reply_kind;
    if (bt_mbox_post(c->reply_to, &c->msg) != 0)
        hub_check_free(c);
}

static uint64_t turn_of(const struct hub_checker *k, const struct hub_check *c)
{
    uint64_t last = k->served;

    for (uint32_t i = 0; i < k->n; i++)
        if (k->waiting[i]->turn > last &&
            memcmp(k->waiting[i]->ip.b, c->ip.b, sizeof(c->ip.b)) == 0)
            last = k->waiting[i]->turn;
    return last + 1;
}

/* The place of the one with the highest turn. */
static uint32_t last_of(const struct hub_checker *k)
{
    uint32_t last = 0;

    for (uint32_t i = 1; i < k->n; i++)
        if (k->waiting[i]->turn >= k->waiting[last]->turn)
            last = i;
    return last;
}

static void take_in(struct hub_checker *k, struct hub_check *c)
{
    c->ip = hub_ip_group(c->ip);
    c->turn = turn_of(k, c);
    if (k->n == HUB_CHECK_MAX) {
        uint32_t last = last_of(k);
        struct hub_check *out = c;

        if (k->waiting[last]->turn > c->turn) {
            out = k->waiting[last];
            k->waiting[last] = c;
        }
        out->busy = true;
        give_back(out);
        return;
    }
    k->waiting[k->n++] = c;
}

/* The next one; those of one turn in the order they came. */
static struct hub_check *take_next(struct hub_checker *k)
{
    struct hub_check *c;
    uint32_t next = 0;

    for (uint32_t i = 1; i < k->n; i++)
        if (k->waiting[i]->turn < k->waiting[next]->turn)
            next = i;
    c = k->waiting[next];
    k->n--;
    memmove(&k->waiting[next], &k->waiting[next + 1],
            (k->n - next) * sizeof(struct hub_check *));
    k->served = c->turn;
    return c;
}

static void on_next(struct bt_timer *t)
{
    struct hub_checker *k = bt_container_of(t, struct hub_checker, next);
    struct hub_check *c = take_next(k);

    c->good =
        bt_password_check(c->work, (struct bt_slice){ c->password, c->password_len }) &&
        c->principal != NULL;
    give_back(c);
    if (k->n > 0)
        bt_timer_start(k->loop, &k->next, 0, 0);
}

static void on_message(void *arg, struct bt_msg *msg)
{
    struct hub_checker *k = arg;

    if (msg->kind == QUIT) {
        bt_loop_stop(k->loop);
        return;
    }
    take_in(k, bt_container_of(msg, struct hub_check, msg));
    if (!bt_timer_active(&k->next) && k->n > 0)
        bt_timer_start(k->loop, &k->next, 0, 0);
}

static void *run(void *arg)
{
    struct hub_checker *k = arg;

    bt_sys_thread_name(bt_loop_name(k->loop));
    bt_loop_run(k->loop);
    return NULL;
}

static void release(struct hub_checker *k)
{
    if (k->mbox != NULL)
        bt_mbox_close(k->mbox);
    for (uint32_t i = 0; i < k->n; i++)
        hub_check_free(k->waiting[i]);
    if (k->loop != NULL)
        bt_timer_stop(k->loop, &k->next);
    bt_mbox_free(k->mbox);
    bt_loop_free(k->loop);
    bt_free(k);
}

int hub_checker_start(struct hub_checker **out)
{
    struct hub_checker *k = bt_calloc(1, sizeof(*k));

    *out = NULL;
    if (k == NULL)
        return BT_ENOMEM;
    bt_timer_init(&k->next, on_next);
    k->quit.kind = QUIT;
    k->loop = bt_loop_new("hub.login", false);
    k->mbox = k->loop == NULL ? NULL : bt_mbox_new(k->loop, on_message, k);
    if (k->mbox == NULL) {
        release(k);
        return BT_ENOMEM;
    }
    if (pthread_create(&k->thread, NULL, run, k) != 0) {
        release(k);
        return bt_origin(BT_EIO, "cannot start the login thread");
    }
    *out = k;
    return 0;
}

void hub_checker_stop(struct hub_checker *k)
{
    if (k == NULL)
        return;
    if (bt_mbox_post(k->mbox, &k->quit) == 0)
        (void)pthread_join(k->thread, NULL);
    release(k);
}

void hub_checker_submit(struct hub_checker *k, struct hub_check *c)
{
    c->msg.kind = 0;
    if (k == NULL) { /* cannot be asked: the answer is "busy" */
        c->busy = true;
        give_back(c);
    } else if (bt_mbox_post(k->mbox, &c->msg) != 0) {
        hub_check_free(c); /* the hub ends */
    }
}
