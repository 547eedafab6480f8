/* Copying the short runs of bytes a message is made of: topics, headers, small payloads.
 * The C library's memcpy of the static targets starts a string instruction for each,
 * which costs more than the copy. Any thread. */
#ifndef CORE_COPY_H
#define CORE_COPY_H

#include <string.h>

#include "core/base.h"

#define BT_COPY_SHORT 256u /* from here on memcpy is the faster one */

/* As memcpy: n bytes, no overlap, also n = 0. Blocks of a fixed size, the last one
 * reaching back over the one before. */
static inline void bt_copy(void *to, const void *from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;

    if (n > BT_COPY_SHORT) {
        memcpy(d, s, n);
    } else if (n >= 16) {
        for (size_t i = 0; i + 16 < n; i += 16)
            memcpy(d + i, s + i, 16);
        memcpy(d + n - 16, s + n - 16, 16);
    } else if (n >= 8) {
        memcpy(d, s, 8);
        memcpy(d + n - 8, s + n - 8, 8);
    } else if (n >= 4) {
        memcpy(d, s, 4);
        memcpy(d + n - 4, s + n - 4, 4);
    } else if (n > 0) {
        d[0] = s[0];
        d[n / 2] = s[n / 2];
        d[n - 1] = s[n - 1];
    }
}

#endif
