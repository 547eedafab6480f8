#include "core/copy.h"

#include "tests/harness.h"

TEST(every_short_length_and_no_byte_beside_it)
{
    uint8_t from[300], to[302];

    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 7 + 1);
    for (size_t n = 0; n <= sizeof(from); n++) {
        memset(to, 0xee, sizeof(to));
        bt_copy(to + 1, from, n);
        CHECK_INT(memcmp(to + 1, from, n), 0);
        CHECK_INT(to[0], 0xee);
        CHECK_INT(to[n + 1], 0xee);
    }
}
