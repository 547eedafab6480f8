/* Budgets: levels of memory, what is refused. */
#include "hub/session/quota.c"

#include "tests/harness.h"

static void begin(uint64_t limit)
{
    hub_quota_untold = 0;
    atomic_store(&hub_quota.used, 0);
    hub_quota_limit(limit);
}

TEST(small_changes_wait)
{
    begin(1 << 20);
    hub_quota_charge(HUB_QUOTA_STEP);
    CHECK_INT(atomic_load(&hub_quota.used), 0);
    hub_quota_charge(1);
    CHECK_INT(atomic_load(&hub_quota.used), HUB_QUOTA_STEP + 1);
    hub_quota_charge(-HUB_QUOTA_STEP - 1);
    CHECK_INT(atomic_load(&hub_quota.used), 0);
}

TEST(levels)
{
    begin(1 << 20);
    CHECK_INT(hub_quota_scaled(1600), 1600);
    CHECK(!hub_quota_pressed());
    hub_quota_charge(800 << 10);
    CHECK_INT(atomic_load(&hub_quota.memory), HUB_MEMORY_TIGHT);
    CHECK_INT(hub_quota_scaled(1600), 100);
    CHECK(!hub_quota_pressed());
    hub_quota_charge(300 << 10);
    CHECK_INT(atomic_load(&hub_quota.memory), HUB_MEMORY_FULL);
    CHECK(hub_quota_pressed());
    hub_quota_charge(-(1100 << 10));
    CHECK_INT(atomic_load(&hub_quota.memory), HUB_MEMORY_FREE);
    CHECK(!hub_quota_pressed());
}

TEST(without_a_limit_nothing_is_tight)
{
    begin(0);
    hub_quota_charge(INT64_C(1) << 40);
    CHECK_INT(atomic_load(&hub_quota.memory), HUB_MEMORY_FREE);
    hub_quota_charge(-(INT64_C(1) << 40));
}

TEST(a_full_store_presses)
{
    begin(0);
    hub_quota_disk(true);
    hub_quota_disk(true);
    CHECK(hub_quota_pressed());
    hub_quota_disk(false);
    CHECK(!hub_quota_pressed());
}

TEST(age)
{
    struct hub_msg m = { .created_ms = HUB_STORE_CLOCK_FLOOR + 1000 };
    struct hub_qentry e = { .msg = &m };

    atomic_store(&hub_quota.oldest_ms, 0);
    CHECK(!hub_quota_too_old(&e));
    atomic_store(&hub_quota.oldest_ms, HUB_STORE_CLOCK_FLOOR + 2000);
    CHECK(hub_quota_too_old(&e));
    e.sent = true;
    CHECK(!hub_quota_too_old(&e));
    e.sent = false;
    m.created_ms = 5000; /* the clock was not set */
    CHECK(!hub_quota_too_old(&e));
    atomic_store(&hub_quota.oldest_ms, 0);
}
