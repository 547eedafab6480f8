#include "core/mbox.c"

#include "tests/harness.h"

#define SENDERS  3
#define MESSAGES 20000

struct item {
    struct bt_msg msg;
    unsigned n;
};

static struct bt_loop *loop;
static struct bt_mbox *box;
static unsigned handled, next_of[SENDERS + 1];
static bool in_order;

static void begin(bt_mbox_fn fn)
{
    handled = 0;
    in_order = true;
    memset(next_of, 0, sizeof(next_of));
    loop = bt_loop_new("test", false);
    CHECK(loop != NULL);
    box = bt_mbox_new(loop, fn, NULL);
    CHECK(box != NULL);
}

static void end(void)
{
    bt_mbox_free(box);
    bt_loop_free(loop);
}

static void post(uint32_t kind, unsigned n)
{
    struct item *item = bt_calloc(1, sizeof(*item));

    item->msg.kind = kind;
    item->n = n;
    if (bt_mbox_post(box, &item->msg) != 0)
        bt_free(item);
}

/* kind = sender; each sender's numbers come in order. */
static void on_item(void *arg, struct bt_msg *msg)
{
    struct item *item = bt_container_of(msg, struct item, msg);

    (void)arg;
    in_order &= item->n == next_of[msg->kind]++;
    bt_free(item);
    if (++handled == SENDERS * MESSAGES)
        bt_loop_stop(loop);
}

static void *send_all(void *arg)
{
    uint32_t kind = *(uint32_t *)arg;
    unsigned i;

    for (i = 0; i < MESSAGES; i++)
        post(kind, i);
    return NULL;
}

/* Works. */

TEST(three_senders)
{
    pthread_t threads[SENDERS];
    uint32_t kinds[SENDERS], i;

    begin(on_item);
    for (i = 0; i < SENDERS; i++) {
        kinds[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, send_all, &kinds[i]), 0);
    }
    bt_loop_run(loop);
    for (i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(handled, SENDERS * MESSAGES);
    CHECK(in_order);
    end();
}

static void post_again(void *arg, struct bt_msg *msg)
{
    struct item *item = bt_container_of(msg, struct item, msg);

    (void)arg;
    handled++;
    if (item->n > 0)
        post(0, item->n - 1);
    else
        bt_loop_stop(loop);
    bt_free(item);
}

TEST(a_handler_may_post_to_its_own_box)
{
    begin(post_again);
    post(0, 9);
    bt_loop_run(loop);
    CHECK_INT(handled, 10);
    end();
}

static void close_on_first(void *arg, struct bt_msg *msg)
{
    (void)arg;
    handled++;
    bt_free(bt_container_of(msg, struct item, msg));
    if (handled == 1) {
        bt_mbox_close(box);
        bt_loop_stop(loop);
    }
}

TEST(closing_in_a_handler_hands_over_the_rest)
{
    begin(close_on_first);
    post(0, 0);
    post(0, 1);
    post(0, 2);
    bt_loop_run(loop);
    CHECK_INT(handled, 3);
    end();
}

static void free_on_first(void *arg, struct bt_msg *msg)
{
    (void)arg;
    (void)msg;
    handled++;
    bt_mbox_free(box);
    box = NULL;
    bt_loop_stop(loop);
}

TEST(freeing_in_a_handler_drops_the_rest)
{
    static struct bt_msg msgs[3];

    begin(free_on_first);
    CHECK_INT(bt_mbox_post(box, &msgs[0]), 0);
    CHECK_INT(bt_mbox_post(box, &msgs[1]), 0);
    bt_loop_run(loop);
    CHECK_INT(handled, 1);
    end();
}

/* Fails. */

TEST(a_closed_box_gives_the_message_back)
{
    struct bt_msg msg = { .kind = 1 };

    begin(on_item);
    post(0, 0);
    bt_mbox_close(box);
    CHECK_INT(handled, 1);
    CHECK_INT(bt_mbox_post(box, &msg), BT_MBOX_CLOSED);
    bt_mbox_close(box);
    end();
}

TEST(no_memory)
{
    struct bt_mbox *none;

    begin(on_item);
    bt_mem_fail_from(1);
    none = bt_mbox_new(loop, on_item, NULL);
    bt_mem_fail_from(0);
    CHECK(none == NULL);
    bt_mbox_free(NULL);
    end();
}
