/* The seed of the hash tables that hold what clients name. From the system's random
 * numbers; a system that has none to give gets a seed from the clock and the address
 * layout, which is still not known from outside. */
#include "hub/route/hash.h"

#include "core/clock.h"
#include "core/sys.h"

uint64_t hub_hash_seed(void)
{
    uint64_t seed = 0;

    if (bt_sys_random(&seed, sizeof(seed)) != 0)
        seed = bt_clock_us() * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&seed;
    return seed;
}
