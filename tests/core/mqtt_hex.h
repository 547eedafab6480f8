/* Bytes written as text for the tests of the MQTT codec: hex digits, 'text' in quotes,
 * blanks. */
#ifndef TESTS_CORE_MQTT_HEX_H
#define TESTS_CORE_MQTT_HEX_H

#include "tests/harness.h"

/* An exact allocation, so that a sanitizer sees one byte too far. The caller frees. */
static uint8_t *hex(const char *s, size_t *n)
{
    uint8_t work[512], *out;

    *n = 0;
    while (*s != '\0' && *n < sizeof(work)) {
        if (*s == ' ') {
            s++;
        } else if (*s == '\'') {
            for (s++; *s != '\''; s++)
                work[(*n)++] = (uint8_t)*s;
            s++;
        } else {
            char two[3] = { s[0], s[1], '\0' };

            work[(*n)++] = (uint8_t)strtoul(two, NULL, 16);
            s += 2;
        }
    }
    out = malloc(*n > 0 ? *n : 1);
    if (out == NULL)
        abort();
    memcpy(out, work, *n);
    return out;
}

#define S(text) ((struct bt_slice){ (const uint8_t *)(text), sizeof(text) - 1 })

__attribute__((unused)) static bool slice_is(struct bt_slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

#endif
