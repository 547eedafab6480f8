/* Time for certificates. A device without a battery clock starts in 1970 and would find
 * every certificate not yet valid; so time is never taken to be before a floor: the time
 * of the build, raised by what else is known for sure (the first day of the device's own
 * certificate). The clock counts as soon as it is past the floor. */
#include <time.h>

#include "core/clock.h"
#include "core/tls_priv.h"
#include "core/version.h"
#include <mbedtls/platform_time.h>

static _Atomic int64_t floor_s = BT_BUILD_TIME;

int64_t bt_tls_now(void)
{
    return BT_MAX(bt_clock_wall_ms() / 1000, atomic_load(&floor_s));
}

bool bt_tls_clock_wrong(void)
{
    return bt_clock_wall_ms() / 1000 < atomic_load(&floor_s);
}

void bt_tls_floor_raise(int64_t utc_s)
{
    int64_t now = atomic_load(&floor_s);

    while (utc_s > now && !atomic_compare_exchange_weak(&floor_s, &now, utc_s))
        ;
}

static mbedtls_time_t library_time(mbedtls_time_t *out)
{
    mbedtls_time_t t = (mbedtls_time_t)bt_tls_now();

    if (out != NULL)
        *out = t;
    return t;
}

void bt_tls_time_init(void)
{
    (void)mbedtls_platform_set_time(library_time);
}
