#include "core/mem.c"

#include "tests/harness.h"

/* Works. */

TEST(copies_strings)
{
    char *s = bt_strndup("abc\0def", 7);

    CHECK_MEM(s, "abc\0def", 8);
    bt_freep(&s);
    s = bt_strdup("");
    CHECK_STR(s, "");
    bt_free(s);
}

TEST(cleanup_frees_when_leaving_the_scope)
{
    bt_cleanup(bt_freep) char *s = bt_strdup("owned");
    char *stolen = bt_steal(s);

    CHECK(s == NULL);
    CHECK_STR(stolen, "owned");
    bt_free(stolen);
}

/* Fails. */

TEST(the_nth_and_all_later_allocations_fail)
{
    char *a, *b, *c;

    bt_mem_fail_from(2);
    a = bt_malloc(1);
    b = bt_malloc(1);
    c = bt_strdup("x");
    bt_mem_fail_from(0);
    CHECK(a != NULL);
    CHECK(b == NULL);
    CHECK(c == NULL);
    bt_free(a);
    a = bt_calloc(2, 3);
    CHECK_MEM(a, "\0\0\0\0\0\0", 6);
    bt_free(a);
}

TEST(a_failed_realloc_leaves_the_block)
{
    char *a = bt_strdup("keep"), *b;

    bt_mem_fail_from(1);
    b = bt_realloc(a, 1000);
    bt_mem_fail_from(0);
    CHECK(b == NULL);
    CHECK_STR(a, "keep");
    bt_free(a);
}

TEST(only_the_nth_allocation_fails)
{
    char *a, *b, *c;

    bt_mem_fail_once(2);
    a = bt_malloc(1);
    b = bt_malloc(1);
    c = bt_malloc(1);
    CHECK(bt_mem_fail_once(0));
    CHECK(!bt_mem_fail_from(0));
    CHECK(a != NULL);
    CHECK(b == NULL);
    CHECK(c != NULL);
    bt_free(a);
    bt_free(c);
}
