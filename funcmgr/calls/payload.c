/* A checker for JSON: a cursor and, for what is open, one bit per level. Whoever says
 * application/json is believed by its readers, so bytes that only look like it are not
 * called so. */
#include "funcmgr/calls/payload.h"

#include <string.h>

struct cursor {
    const uint8_t *p, *end;
    unsigned depth;
    uint64_t objects[FM_PAYLOAD_MAX_DEPTH / 64]; /* bit set: that level is an object */
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && memchr(" \t\r\n", *c->p, 4) != NULL)
        c->p++;
}

static bool take(struct cursor *c, uint8_t byte)
{
    if (c->p == c->end || *c->p != byte)
        return false;
    c->p++;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* How many there are. */
static size_t take_digits(struct cursor *c)
{
    const uint8_t *from = c->p;

    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return (size_t)(c->p - from);
}

static bool take_number(struct cursor *c)
{
    (void)take(c, '-');
    if (!take(c, '0') && take_digits(c) == 0)
        return false;
    if (take(c, '.') && take_digits(c) == 0)
        return false;
    if (c->p == c->end || (*c->p | 0x20) != 'e')
        return true;
    c->p++;
    if (!take(c, '+'))
        (void)take(c, '-');
    return take_digits(c) > 0;
}

/* One character beyond ASCII (RFC 3629). */
static bool take_utf8(struct cursor *c)
{
    static const struct {
        uint8_t from, to, low, high; /* first byte; second byte */
        unsigned more;
    } forms[] = { { 0xc2, 0xdf, 0x80, 0xbf, 1 }, { 0xe0, 0xe0, 0xa0, 0xbf, 2 },
                  { 0xe1, 0xec, 0x80, 0xbf, 2 }, { 0xed, 0xed, 0x80, 0x9f, 2 },
                  { 0xee, 0xef, 0x80, 0xbf, 2 }, { 0xf0, 0xf0, 0x90, 0xbf, 3 },
                  { 0xf1, 0xf3, 0x80, 0xbf, 3 }, { 0xf4, 0xf4, 0x80, 0x8f, 3 } };
    size_t i = 0;

    while (i < BT_ARRAY_LEN(forms) && (*c->p < forms[i].from || *c->p > forms[i].to))
        i++;
    if (i == BT_ARRAY_LEN(forms) || (size_t)(c->end - c->p) <= forms[i].more ||
        c->p[1] < forms[i].low || c->p[1] > forms[i].high)
        return false;
    for (unsigned k = 2; k <= forms[i].more; k++)
        if ((c->p[k] & 0xc0) != 0x80)
            return false;
    c->p += forms[i].more + 1;
    return true;
}

static bool take_escape(struct cursor *c)
{
    if (c->p == c->end)
        return false;
    if (*c->p != 'u')
        return memchr("\"\\/bfnrt", *c->p++, 8) != NULL;
    c->p++;
    for (unsigned i = 0; i < 4; i++, c->p++)
        if (c->p == c->end || *c->p == '\0' ||
            strchr("0123456789abcdefABCDEF", *c->p) == NULL)
            return false;
    return true;
}

static bool take_string(struct cursor *c)
{
    if (!take(c, '"'))
        return false;
    while (c->p < c->end && *c->p != '"') {
        if (*c->p < 0x20)
            return false;
        if (*c->p == '\\') {
            c->p++;
            if (!take_escape(c))
                return false;
        } else if (*c->p >= 0x80) {
            if (!take_utf8(c))
                return false;
        } else {
            c->p++;
        }
    }
    return take(c, '"');
}

static bool in_object(const struct cursor *c)
{
    unsigned at = c->depth - 1;

    return (c->objects[at / 64] >> at % 64 & 1) != 0;
}

static bool enter(struct cursor *c, bool object)
{
    unsigned at = c->depth;

    if (at == FM_PAYLOAD_MAX_DEPTH)
        return false;
    c->depth++;
    c->objects[at / 64] &= ~((uint64_t)1 << at % 64);
    c->objects[at / 64] |= (uint64_t)object << at % 64;
    return true;
}

static bool take_key(struct cursor *c)
{
    skip_space(c);
    if (!take_string(c))
        return false;
    skip_space(c);
    return take(c, ':');
}

static bool take_scalar(struct cursor *c)
{
    if (c->p == c->end)
        return false;
    switch (*c->p) {
    case '"':
        return take_string(c);
    case 't':
        return take_word(c, "true");
    case 'f':
        return take_word(c, "false");
    case 'n':
        return take_word(c, "null");
    default:
        return take_number(c);
    }
}

/* Everything that a value's end may be followed by, up to the next value. False: wrong;
 * *done: the whole text is read. */
static bool take_ends(struct cursor *c, bool *done)
{
    for (;;) {
        skip_space(c);
        *done = c->depth == 0;
        if (*done)
            return c->p == c->end;
        if (take(c, ','))
            return !in_object(c) || take_key(c);
        if (!take(c, in_object(c) ? '}' : ']'))
            return false;
        c->depth--;
    }
}

static bool check(struct cursor *c)
{
    bool done = false;

    while (!done) {
        bool object, empty = false;

        skip_space(c);
        object = c->p < c->end && *c->p == '{';
        if (object || (c->p < c->end && *c->p == '[')) {
            c->p++;
            skip_space(c);
            if (!enter(c, object))
                return false;
            empty = c->p < c->end && *c->p == (object ? '}' : ']');
            if (!empty && object && !take_key(c))
                return false;
            if (!empty)
                continue;
        } else if (!take_scalar(c)) {
            return false;
        }
        if (!take_ends(c, &done))
            return false;
    }
    return true;
}

bool fm_payload_is_json(struct bt_slice s)
{
    struct cursor c = { .p = s.ptr, .end = s.ptr + s.len };

    if (s.len == 0)
        return false;
    if (s.len <= FM_PAYLOAD_JSON_CHECK)
        return check(&c);
    return (s.ptr[0] == '{' && s.ptr[s.len - 1] == '}') ||
           (s.ptr[0] == '[' && s.ptr[s.len - 1] == ']') ||
           (s.ptr[0] == '"' && s.ptr[s.len - 1] == '"');
}
