/* Turns by topic. */
#include "funcmgr/rule/rule_order.c"

#include <stdio.h>

#include "tests/harness.h"

#define N 3000

static struct fm_turn turns[N];
static char names[N][8];

static bool enter(struct fm_order *o, size_t i, const char *topic)
{
    turns[i] = (struct fm_turn){ .topic = { (const uint8_t *)topic, strlen(topic) } };
    return fm_order_enter(o, &turns[i]);
}

TEST(without_order_it_is_everybodys_turn)
{
    struct fm_order o = { 0 };

    CHECK(enter(&o, 0, "a") && enter(&o, 1, "a"));
    CHECK(fm_order_leave(&o, &turns[0]) == NULL);
    fm_order_deinit(&o);
}

TEST(one_after_the_other)
{
    struct fm_order o;

    CHECK_INT(fm_order_init(&o), 0);
    CHECK(enter(&o, 0, "a"));
    CHECK(enter(&o, 1, "b"));
    CHECK(enter(&o, 2, ""));
    CHECK(!enter(&o, 3, "a"));
    CHECK(!enter(&o, 4, "a"));
    CHECK(!enter(&o, 5, "a"));
    CHECK(fm_order_leave(&o, &turns[4]) == NULL); /* gives up */
    CHECK(fm_order_leave(&o, &turns[0]) == &turns[3]);
    CHECK(!enter(&o, 0, "a"));
    CHECK(fm_order_leave(&o, &turns[3]) == &turns[5]);
    CHECK(fm_order_leave(&o, &turns[5]) == &turns[0]);
    CHECK(fm_order_leave(&o, &turns[0]) == NULL);
    CHECK(fm_order_leave(&o, &turns[1]) == NULL);
    CHECK(fm_order_leave(&o, &turns[2]) == NULL);
    CHECK(enter(&o, 0, "a"));
    CHECK(fm_order_leave(&o, &turns[0]) == NULL);
    fm_order_deinit(&o);
}

TEST(many_topics)
{
    struct fm_order o;

    CHECK_INT(fm_order_init(&o), 0);
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "t%zu", i % 1000);
        CHECK_INT(enter(&o, i, names[i]), i < 1000);
    }
    for (size_t i = 0; i < N; i++)
        CHECK(fm_order_leave(&o, &turns[i]) == (i < 2000 ? &turns[i + 1000] : NULL));
    fm_order_deinit(&o);
}
