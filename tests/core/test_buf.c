#include "core/buf.c"

#include "tests/harness.h"

/* Works. */

TEST(appends_and_consumes)
{
    struct bt_buf b = { 0 };
    char *s;

    CHECK_INT(bt_buf_append(&b, "hello ", 6), 0);
    CHECK_INT(bt_buf_append_str(&b, "world"), 0);
    CHECK_INT(bt_buf_append_u8(&b, '!'), 0);
    CHECK_INT(bt_buf_append(&b, NULL, 0), 0);
    bt_buf_consume(&b, 6);
    CHECK_INT(b.len, 6);
    CHECK_INT(bt_buf_printf(&b, " %d%s", 42, "x"), 0);
    s = bt_buf_steal_str(&b);
    CHECK_STR(s, "world! 42x");
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
    bt_free(s);
    bt_buf_deinit(&b);
    bt_buf_deinit(&b);
}

TEST(steals_an_empty_string)
{
    struct bt_buf b = { 0 };
    char *s = bt_buf_steal_str(&b);

    CHECK_STR(s, "");
    bt_free(s);
}

TEST(random_pieces_come_out_as_they_went_in)
{
    struct bt_buf b = { 0 };
    uint8_t in = 0, out = 0;
    int i;

    for (i = 0; i < 2000; i++) {
        size_t n = (size_t)(test_random() % 100), k;

        for (k = 0; k < n; k++)
            CHECK_INT(bt_buf_append_u8(&b, in++), 0);
        n = b.len > 0 ? (size_t)(test_random() % (b.len + 1)) : 0;
        for (k = 0; k < n; k++)
            CHECK_INT(b.data[k], out++);
        bt_buf_consume(&b, n);
        CHECK(b.len <= b.cap);
    }
    bt_buf_deinit(&b);
}

/* Fails. */

TEST(the_ceiling_holds)
{
    struct bt_buf b = { .max = 10 };

    CHECK_INT(bt_buf_append(&b, "0123456789", 10), 0);
    CHECK_INT(bt_buf_append_u8(&b, 'x'), BT_ELIMIT);
    CHECK_INT(bt_buf_reserve(&b, SIZE_MAX), BT_ELIMIT);
    CHECK_INT(b.len, 10);
    bt_buf_consume(&b, 4);
    CHECK_INT(bt_buf_append(&b, "abcd", 4), 0);
    CHECK_MEM(b.data, "456789abcd", 10);
    CHECK_INT(bt_buf_append(&b, "e", 1), BT_ELIMIT);
    bt_buf_deinit(&b);
}

TEST(no_memory_leaves_the_contents)
{
    struct bt_buf b = { 0 };
    char big[1000] = "";
    int r;

    CHECK_INT(bt_buf_append_str(&b, "keep"), 0);
    bt_mem_fail_from(1);
    r = bt_buf_append(&b, big, sizeof(big));
    bt_mem_fail_from(0);
    CHECK_INT(r, BT_ENOMEM);
    CHECK_INT(b.len, 4);
    CHECK_MEM(b.data, "keep", 4);
    bt_buf_deinit(&b);
}
