/* Topics and filters (MQTT 5.0 §1.5.4, §4.7): well-formed text, matching, and whether
 * one filter covers another.
 *
 * The scan reads eight bytes at a time as long as they are ASCII and none is U+0000, + or
 * #; the rest takes the careful loop. Matching walks both texts level by level and
 * allocates nothing. Functions accept any bytes: text that is not a valid filter matches
 * nothing it should not, and never reads past its end. */
#include "core/mqtt.h"
#include "core/mqtt_wire.h"

#include <string.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* For v without high bits: is one of its bytes zero? */
static inline uint64_t zero_byte(uint64_t v)
{
    return (v - ONES) & ~v & HIGHS;
}

static inline bool is_plain(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return ((v & HIGHS) | zero_byte(v) | zero_byte(v ^ (ONES * '+')) |
            zero_byte(v ^ (ONES * '#'))) == 0;
}

/* First byte of a sequence: its length, and the range of the second byte, which is what
 * excludes overlong forms, surrogates and values above U+10FFFF (Unicode table 3-7). */
static const struct lead {
    uint8_t first, last, len, low, high;
} leads[] = {
    { 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf },
    { 0xe1, 0xec, 3, 0x80, 0xbf }, { 0xed, 0xed, 3, 0x80, 0x9f },
    { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
    { 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
};

/* Length of the sequence at p, which is not ASCII; 0 when it is none. */
static size_t sequence(const uint8_t *p, size_t left)
{
    const struct lead *row = NULL;

    for (size_t i = 0; i < BT_ARRAY_LEN(leads) && row == NULL; i++) {
        if (p[0] >= leads[i].first && p[0] <= leads[i].last)
            row = &leads[i];
    }
    if (row == NULL || left < row->len || p[1] < row->low || p[1] > row->high)
        return 0;
    for (size_t i = 2; i < row->len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return row->len;
}

unsigned bt_mqtt_scan(struct bt_slice s)
{
    unsigned found = 0;
    size_t i = 0, step;

    while (i < s.len) {
        if (s.len - i >= 8 && is_plain(s.ptr + i)) {
            i += 8;
            continue;
        }
        step = 1;
        if (s.ptr[i] >= 0x80)
            step = sequence(s.ptr + i, s.len - i);
        else if (s.ptr[i] == '+' || s.ptr[i] == '#')
            found |= BT_MQTT_SCAN_WILD;
        if (step == 0 || s.ptr[i] == 0)
            return found | BT_MQTT_SCAN_BAD;
        i += step;
    }
    return found;
}

bool bt_mqtt_utf8_ok(struct bt_slice s)
{
    return (bt_mqtt_scan(s) & BT_MQTT_SCAN_BAD) == 0;
}

bool bt_mqtt_topic_ok(struct bt_slice topic)
{
    return topic.len > 0 && topic.len <= 0xffff && bt_mqtt_scan(topic) == 0;
}

/* The level of s that begins at *pos. *pos moves behind its slash, or beyond s.len after
 * the last level. */
static inline struct bt_slice level(struct bt_slice s, size_t *pos)
{
    struct bt_slice out = { s.ptr + *pos, s.len - *pos };
    const uint8_t *slash = out.len > 0 ? memchr(out.ptr, '/', out.len) : NULL;

    if (slash != NULL)
        out.len = (size_t)(slash - out.ptr);
    *pos += out.len + 1;
    return out;
}

static inline bool is(struct bt_slice s, char c)
{
    return s.len == 1 && s.ptr[0] == (uint8_t)c;
}

static inline bool same(struct bt_slice a, struct bt_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool wildcards_ok(struct bt_slice filter)
{
    size_t pos = 0;

    while (pos <= filter.len) {
        struct bt_slice l = level(filter, &pos);

        if (is(l, '+'))
            continue;
        if (is(l, '#'))
            return pos > filter.len;
        if (l.len > 0 &&
            (memchr(l.ptr, '+', l.len) != NULL || memchr(l.ptr, '#', l.len) != NULL))
            return false;
    }
    return true;
}

static bool is_shared(struct bt_slice filter)
{
    return filter.len >= 7 && memcmp(filter.ptr, "$share/", 7) == 0;
}

/* What stands behind $share/name/ (§4.8.2); empty when the name or filter is missing.
 */
static struct bt_slice shared_filter(struct bt_slice filter)
{
    size_t pos = 7;
    struct bt_slice name = level(filter, &pos);

    if (name.len == 0 || (bt_mqtt_scan(name) & BT_MQTT_SCAN_WILD) != 0 ||
        pos >= filter.len)
        return (struct bt_slice){ filter.ptr, 0 };
    return (struct bt_slice){ filter.ptr + pos, filter.len - pos };
}

bool bt_mqtt_filter_ok(struct bt_slice filter)
{
    unsigned found;

    if (filter.len == 0 || filter.len > 0xffff)
        return false;
    found = bt_mqtt_scan(filter);
    if ((found & BT_MQTT_SCAN_BAD) != 0)
        return false;
    if (is_shared(filter)) {
        filter = shared_filter(filter);
        if (filter.len == 0)
            return false;
    }
    return (found & BT_MQTT_SCAN_WILD) == 0 || wildcards_ok(filter);
}

/* A wildcard at the first level does not reach topics that begin with $ (§4.7.2). */
static bool hidden(struct bt_slice wild, struct bt_slice other)
{
    return other.ptr[0] == '$' && (wild.ptr[0] == '+' || wild.ptr[0] == '#');
}

bool bt_mqtt_match(struct bt_slice filter, struct bt_slice topic)
{
    size_t i = 0, j = 0;

    if (filter.len == 0 || topic.len == 0 || hidden(filter, topic))
        return false;
    while (i <= filter.len) {
        struct bt_slice f = level(filter, &i);

        /* The # also takes the parent: the topic may have ended one level before. */
        if (is(f, '#'))
            return true;
        if (j > topic.len)
            return false;
        if (!same(level(topic, &j), f) && !is(f, '+'))
            return false;
    }
    return j > topic.len;
}

bool bt_mqtt_covers(struct bt_slice permit, struct bt_slice filter)
{
    size_t i = 0, j = 0;

    if (is_shared(filter))
        filter = shared_filter(filter);
    if (permit.len == 0 || filter.len == 0 || hidden(permit, filter))
        return false;
    /* Every topic has a first level, so these two say the same. */
    if (is(filter, '#') && permit.len == 3 && memcmp(permit.ptr, "+/#", 3) == 0)
        return true;
    while (i <= permit.len) {
        struct bt_slice p = level(permit, &i), f;

        if (is(p, '#'))
            return true;
        if (j > filter.len)
            return false;
        f = level(filter, &j);
        /* One level, even any, is less than a subtree. */
        if (is(f, '#') || (!same(p, f) && !is(p, '+')))
            return false;
    }
    return j > filter.len;
}
