/* Texts of single values: numbers, durations, sizes, truth values. All arithmetic is on
 * integers with overflow checked, so that the same text gives the same value on every
 * machine.
 *
 * Happy path: "1m30s" -> 90000. Failure modes: anything else is BT_EINVAL and *out is
 * untouched. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit time_units[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "\xc2\xb5s", 1000 }, /* micro sign */
    { "\xce\xbcs", 1000 }, /* Greek mu */
    { "ms", 1000000 },
    { "s", 1000000000 },
    { "m", 60 * UINT64_C(1000000000) },
    { "h", 3600 * UINT64_C(1000000000) },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits before the point, and where the digits behind it are. */
struct decimal {
    uint64_t whole;
    const char *fraction;
    size_t n_fraction, n_digits;
};

static bool read_decimal(const char **at, struct decimal *d)
{
    const char *s = *at;

    *d = (struct decimal){ 0 };
    for (; is_digit(*s); s++, d->n_digits++) {
        if (__builtin_mul_overflow(d->whole, UINT64_C(10), &d->whole) ||
            __builtin_add_overflow(d->whole, (uint64_t)(*s - '0'), &d->whole))
            return false;
    }
    if (*s == '.') {
        d->fraction = ++s;
        for (; is_digit(*s); s++)
            d->n_fraction++;
        d->n_digits += d->n_fraction;
    }
    *at = s;
    return d->n_digits > 0;
}

/* d * scale, rounded down; exact, because a floor of a floored sum is the floor of the
 * sum. */
static bool scale_decimal(const struct decimal *d, uint64_t scale, uint64_t *out)
{
    uint64_t part = 0, whole;

    for (size_t i = d->n_fraction; i > 0; i--)
        part = ((uint64_t)(d->fraction[i - 1] - '0') * scale + part) / 10;
    if (__builtin_mul_overflow(d->whole, scale, &whole) ||
        __builtin_add_overflow(whole, part, out))
        return false;
    return true;
}

/* The longest unit that s begins with, so that "ms" is not "m". */
static const struct unit *read_time_unit(const char **s)
{
    const struct unit *best = NULL;
    size_t best_len = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(time_units); i++) {
        size_t len = strlen(time_units[i].name);

        if (len > best_len && strncmp(*s, time_units[i].name, len) == 0) {
            best = &time_units[i];
            best_len = len;
        }
    }
    *s += best_len;
    return best;
}

/* Go's syntax without the sign: one or more of number and unit. */
static bool read_duration(const char *s, uint64_t *ns)
{
    uint64_t part, sum = 0;
    struct decimal d;

    do {
        const struct unit *u;

        if (!read_decimal(&s, &d))
            return false;
        u = read_time_unit(&s);
        if (u == NULL || !scale_decimal(&d, u->scale, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
    } while (*s != '\0');
    *ns = sum;
    return true;
}

bool bt_conf_is_integer(const char *s)
{
    if (*s == '-' || *s == '+')
        s++;
    if (*s == '\0')
        return false;
    while (is_digit(*s))
        s++;
    return *s == '\0';
}

int bt_conf_parse_ms(const char *s, int64_t *out)
{
    bool negative = *s == '-', plain = bt_conf_is_integer(s);
    struct decimal d;
    uint64_t ns;
    int64_t ms;

    if (*s == '-' || *s == '+')
        s++;
    if (plain ? !read_decimal(&s, &d) : !read_duration(s, &ns))
        return BT_EINVAL;
    if (plain)
        ns = d.whole;
    if (ns > INT64_MAX)
        return BT_EINVAL;
    ms = (int64_t)(ns / 1000000 + (ns % 1000000 != 0));
    *out = negative ? -ms : ms;
    return 0;
}

/* ^(\d+(\.\d+)*) ?([kKmMgGtTpP])?[iI]?[bB]?$ */
int bt_conf_parse_bytes(const char *s, uint64_t *out)
{
    static const char letters[] = "kKmMgGtTpP";
    const char *letter;
    uint64_t scale = 1;
    struct decimal d;

    if (!is_digit(*s) || !read_decimal(&s, &d) || s[-1] == '.')
        return BT_EINVAL;
    if (*s == ' ')
        s++;
    letter = *s != '\0' ? strchr(letters, *s) : NULL;
    if (letter != NULL) {
        scale <<= 10 * ((letter - letters) / 2 + 1);
        s++;
    }
    if (*s == 'i' || *s == 'I')
        s++;
    if (*s == 'b' || *s == 'B')
        s++;
    if (*s != '\0' || !scale_decimal(&d, scale, out))
        return BT_EINVAL;
    return 0;
}

int bt_conf_parse_bool(const char *s, bool *out)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {
        { "true", true }, { "True", true },   { "TRUE", true },   { "yes", true },
        { "Yes", true },  { "YES", true },    { "on", true },     { "On", true },
        { "ON", true },   { "false", false }, { "False", false }, { "FALSE", false },
        { "no", false },  { "No", false },    { "NO", false },    { "off", false },
        { "Off", false }, { "OFF", false },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(words); i++) {
        if (strcmp(s, words[i].text) == 0) {
            *out = words[i].value;
            return 0;
        }
    }
    return BT_EINVAL;
}

int bt_conf_parse_u32(const char *s, uint32_t *out)
{
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    uint32_t base = hex ? 16 : 10, v = 0;

    s += hex ? 2 : 0;
    if (*s == '\0')
        return BT_EINVAL;
    for (; *s != '\0'; s++) {
        int digit = bt_hex_digit(*s);

        if (digit < 0 || (uint32_t)digit >= base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (uint32_t)digit, &v))
            return BT_EINVAL;
    }
    *out = v;
    return 0;
}

void bt_conf_format_ms(int64_t ms, char out[BT_CONF_VALUE_LEN])
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    uint64_t h = left / 3600000, m = left / 60000 % 60, s = left / 1000 % 60;
    size_t n = 0;

    if (left == 0) {
        snprintf(out, BT_CONF_VALUE_LEN, "0s");
        return;
    }
    out[0] = '\0';
    if (ms < 0)
        n += (size_t)snprintf(out + n, BT_CONF_VALUE_LEN - n, "-");
    if (h > 0)
        n += (size_t)snprintf(out + n, BT_CONF_VALUE_LEN - n, "%" PRIu64 "h", h);
    if (m > 0)
        n += (size_t)snprintf(out + n, BT_CONF_VALUE_LEN - n, "%" PRIu64 "m", m);
    if (s > 0)
        n += (size_t)snprintf(out + n, BT_CONF_VALUE_LEN - n, "%" PRIu64 "s", s);
    if (left % 1000 > 0)
        snprintf(out + n, BT_CONF_VALUE_LEN - n, "%" PRIu64 "ms", left % 1000);
}

void bt_conf_format_bytes(uint64_t n, char out[BT_CONF_VALUE_LEN])
{
    static const char letters[] = "\0kmgtp";
    size_t i = 0;

    while (n != 0 && n % 1024 == 0 && i < 5) {
        n /= 1024;
        i++;
    }
    snprintf(out, BT_CONF_VALUE_LEN, "%" PRIu64 "%.1s", n, &letters[i]);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned bt_conf_distance(const char *a, const char *b)
{
    unsigned rows[3][BT_CONF_FAR] = { { 0 } };
    unsigned *before = rows[0], *last = rows[1], *now = rows[2], *spare;
    size_t n_a = strlen(a), n_b = strlen(b);

    if (n_a >= BT_CONF_FAR || n_b >= BT_CONF_FAR)
        return BT_CONF_FAR;
    for (unsigned j = 0; j <= n_b; j++)
        last[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            now[j] = least(last[j], now[j - 1]) + 1;
            now[j] = least(now[j], last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n_b];
}
