/* The idea: one thin layer over malloc, so that a test can say "the third allocation from
 * now fails" and see every error path. Without a test the cost is one relaxed load.
 * Failure: NULL, nothing logged. */
#include "core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* 0 = off; else the number of allocations that still succeed, plus one. */
static _Atomic unsigned long fail_from;

static _Atomic bool only_once, failed;

static bool set_failure(unsigned long nth, bool once)
{
    atomic_store(&fail_from, 0);
    atomic_store(&only_once, once);
    atomic_store(&fail_from, nth);
    return atomic_exchange(&failed, false);
}

bool bt_mem_fail_from(unsigned long nth)
{
    return set_failure(nth, false);
}

bool bt_mem_fail_once(unsigned long nth)
{
    return set_failure(nth, true);
}

static bool must_fail(void)
{
    unsigned long n = atomic_load_explicit(&fail_from, memory_order_relaxed);

    if (bt_likely(n == 0))
        return false;
    while (n > 1)
        if (atomic_compare_exchange_weak(&fail_from, &n, n - 1))
            return false;
    if (n == 0)
        return false;
    atomic_store(&failed, true);
    if (atomic_load(&only_once))
        atomic_store(&fail_from, 0);
    return true;
}

void *bt_malloc(size_t n)
{
    return must_fail() ? NULL : malloc(n);
}

void *bt_calloc(size_t n, size_t size)
{
    return must_fail() ? NULL : calloc(n, size);
}

void *bt_realloc(void *p, size_t n)
{
    return must_fail() ? NULL : realloc(p, n);
}

void bt_free(void *p)
{
    free(p);
}

char *bt_strdup(const char *s)
{
    return bt_strndup(s, strlen(s));
}

char *bt_strndup(const void *s, size_t n)
{
    char *copy = bt_malloc(n + 1);

    if (copy == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void bt_freep(void *pp)
{
    void *p;

    /* The pointer's own type is not known here. */
    memcpy(&p, pp, sizeof(p));
    bt_free(p);
}
