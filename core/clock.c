/* The idea: two clocks of the system, and a virtual pair that tests switch on.
 * clock_gettime with these clocks cannot fail on the systems we run on, so nothing here
 * returns an error. The calendar is computed here: gmtime_r would need a time_t of 64
 * bits. */
#include "core/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic bool fake;
static _Atomic uint64_t fake_mono_us;
static _Atomic uint64_t fake_start_us;
static _Atomic int64_t fake_wall_ms; /* at fake_start_us */

static struct timespec now(clockid_t clock)
{
    struct timespec ts = { 0 };

    (void)clock_gettime(clock, &ts);
    return ts;
}

uint64_t bt_clock_us(void)
{
    struct timespec ts;

    if (bt_unlikely(atomic_load_explicit(&fake, memory_order_relaxed)))
        return atomic_load(&fake_mono_us);
    ts = now(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t bt_clock_ms(void)
{
    return bt_clock_us() / 1000u;
}

int64_t bt_clock_wall_ms(void)
{
    struct timespec ts;

    if (bt_unlikely(atomic_load_explicit(&fake, memory_order_relaxed)))
        return atomic_load(&fake_wall_ms) +
               (int64_t)((atomic_load(&fake_mono_us) - atomic_load(&fake_start_us)) /
                         1000u);
    ts = now(CLOCK_REALTIME);
    return (int64_t)ts.tv_sec * 1000 + (int64_t)(ts.tv_nsec / 1000000);
}

/* Days since 1970 to year, month, day in the Gregorian calendar, by eras of 400 years
 * whose years begin in March, so that the leap day is the last one. */
static void civil(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t from_march = (5 * of_year + 2) / 153;

    *day = (int)(of_year - (153 * from_march + 2) / 5 + 1);
    *month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
    *year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

#define DAY_MS   INT64_C(86400000)
#define MAX_WALL INT64_C(253402300799999)   /* 9999-12-31T23:59:59.999Z */
#define MIN_WALL (-INT64_C(62135596800000)) /* 0001-01-01T00:00:00.000Z */

void bt_clock_text(int64_t wall_ms, char out[BT_CLOCK_TEXT_LEN])
{
    int64_t ms = BT_MIN(BT_MAX(wall_ms, MIN_WALL), MAX_WALL);
    int64_t days = ms / DAY_MS, rest = ms % DAY_MS, year;
    int month, day;

    if (rest < 0) {
        rest += DAY_MS;
        days--;
    }
    civil(days, &year, &month, &day);
    (void)snprintf(out, BT_CLOCK_TEXT_LEN, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)year % 10000u, (unsigned)month % 100u, (unsigned)day % 100u,
                   (unsigned)(rest / 3600000) % 100u, (unsigned)(rest / 60000) % 60u,
                   (unsigned)(rest / 1000) % 60u, (unsigned)(rest % 1000));
}

void bt_clock_fake_start(uint64_t mono_us, int64_t wall_ms)
{
    atomic_store(&fake_mono_us, mono_us);
    atomic_store(&fake_start_us, mono_us);
    atomic_store(&fake_wall_ms, wall_ms);
    atomic_store(&fake, true);
}

void bt_clock_fake_advance(uint64_t us)
{
    atomic_fetch_add(&fake_mono_us, us);
}

void bt_clock_fake_stop(void)
{
    atomic_store(&fake, false);
}
