/* Permits. Both texts are walked level by level (MQTT 5.0 §4.7); nothing is allocated
 * and the values of %c and %u are compared in place, so a permit costs a check what its
 * text costs, whoever asks.
 *
 * Three relations: a permit matches a topic, a permit covers a filter (matches every
 * topic that the filter can match), a deny meets a filter (some topic is matched by
 * both). Failure modes: none; an odd value of %c or %u takes rights away and never gives
 * any. */
#include "hub/access/permit.h"

#include <string.h>

#include "core/mqtt.h"

#define SHARE_PREFIX     "$share/"
#define SHARE_PREFIX_LEN 7u

/* The texts being walked. */
struct walk {
    const struct hub_who *who;
    struct bt_slice permit, other;
    size_t i, j; /* the next level of each; beyond its length when there is none */
    bool loose;  /* a value that cannot stand in counts as any value (deny) */
};

struct hub_permit hub_permit_of(const char *text)
{
    return (struct hub_permit){
        .text = { (const uint8_t *)text, strlen(text) },
        .vars = strstr(text, "%c") != NULL || strstr(text, "%u") != NULL,
    };
}

static struct bt_slice next_level(struct bt_slice s, size_t *at)
{
    struct bt_slice out = { s.ptr + *at, s.len - *at };
    const uint8_t *slash = out.len > 0 ? memchr(out.ptr, '/', out.len) : NULL;

    if (slash != NULL)
        out.len = (size_t)(slash - out.ptr);
    *at += out.len + 1;
    return out;
}

static bool is(struct bt_slice level, char c)
{
    return level.len == 1 && level.ptr[0] == (uint8_t)c;
}

static bool can_stand(struct bt_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] == '+' || value.ptr[i] == '#' || value.ptr[i] == '/')
            return false;
    return value.len > 0 && value.ptr[0] != '$';
}

/* The value that stands at level[at], or NULL for a plain character. */
static const struct bt_slice *variable(const struct hub_who *who, struct bt_slice level,
                                       size_t at)
{
    if (level.ptr[at] != '%' || at + 1 >= level.len)
        return NULL;
    return level.ptr[at + 1] == 'c'   ? &who->client_id
           : level.ptr[at + 1] == 'u' ? &who->username
                                      : NULL;
}

/* Whether a level of a permit has a value that cannot stand in. */
static bool is_odd(const struct hub_who *who, struct bt_slice level)
{
    for (size_t at = 0; at < level.len; at++) {
        const struct bt_slice *value = variable(who, level, at);

        if (value != NULL && !can_stand(*value))
            return true;
    }
    return false;
}

/* A level of a permit, which is no wildcard, against a level of the other text. */
static bool same(const struct walk *w, struct bt_slice level, struct bt_slice other)
{
    size_t from = 0;

    if (is_odd(w->who, level))
        return w->loose;
    for (size_t at = 0; at < level.len; at++) {
        const struct bt_slice *value = variable(w->who, level, at);
        struct bt_slice piece =
            value != NULL ? *value : (struct bt_slice){ level.ptr + at, 1 };

        if (other.len - from < piece.len ||
            memcmp(other.ptr + from, piece.ptr, piece.len) != 0)
            return false;
        from += piece.len;
        at += value != NULL; /* the letter behind % */
    }
    return from == other.len;
}

/* A wildcard at the first level does not reach names that begin with $ (§4.7.2). */
static bool hidden(struct bt_slice wild, struct bt_slice other)
{
    return (wild.ptr[0] == '+' || wild.ptr[0] == '#') && other.ptr[0] == '$';
}

static bool matches(struct walk *w)
{
    if (w->permit.len == 0 || w->other.len == 0 || hidden(w->permit, w->other))
        return false;
    while (w->i <= w->permit.len) {
        struct bt_slice level = next_level(w->permit, &w->i), other;

        if (is(level, '#'))
            return true;
        if (w->j > w->other.len)
            return false;
        other = next_level(w->other, &w->j);
        if (!is(level, '+') && !same(w, level, other))
            return false;
    }
    return w->j > w->other.len;
}

/* The parent of these two would be the empty topic, which is none: the # stands for at
 * least one level. */
static struct bt_slice spelled_out(struct bt_slice filter)
{
    static const uint8_t all[] = "+/#", below_root[] = "/+/#";

    if (is(filter, '#'))
        return (struct bt_slice){ all, sizeof(all) - 1 };
    if (filter.len == 2 && memcmp(filter.ptr, "/#", 2) == 0)
        return (struct bt_slice){ below_root, sizeof(below_root) - 1 };
    return filter;
}

static bool covers(struct walk *w)
{
    struct bt_slice level, other;

    w->other = spelled_out(w->other);

    if (w->permit.len == 0 || w->other.len == 0 || hidden(w->permit, w->other))
        return false;
    while (w->i <= w->permit.len) {
        level = next_level(w->permit, &w->i);
        if (is(level, '#'))
            return true;
        if (w->j > w->other.len)
            return false;
        other = next_level(w->other, &w->j);
        if (is(other, '#')) /* one level, even any, is less than a subtree */
            return false;
        if (!is(level, '+') && (is(other, '+') || !same(w, level, other)))
            return false;
    }
    return w->j > w->other.len;
}

static bool meets(struct walk *w)
{
    w->permit = spelled_out(w->permit);
    w->other = spelled_out(w->other);
    if (w->permit.len == 0 || w->other.len == 0 || hidden(w->permit, w->other) ||
        hidden(w->other, w->permit))
        return false;
    while (w->i <= w->permit.len && w->j <= w->other.len) {
        struct bt_slice level = next_level(w->permit, &w->i),
                        other = next_level(w->other, &w->j);

        if (is(level, '#') || is(other, '#'))
            return true;
        if (!is(level, '+') && !is(other, '+') && !same(w, level, other))
            return false;
    }
    if (w->i > w->permit.len && w->j > w->other.len)
        return true;
    /* One of them goes on: only # also stands for its parent. */
    return w->i <= w->permit.len ? is(next_level(w->permit, &w->i), '#')
                                 : is(next_level(w->other, &w->j), '#');
}

static bool one_topic(const struct hub_permit *p, const struct hub_who *who,
                      struct bt_slice topic, bool loose)
{
    struct walk w = { .who = who, .permit = p->text, .other = topic, .loose = loose };

    return p->vars ? matches(&w) : bt_mqtt_match(p->text, topic);
}

bool hub_permits_topic(const struct hub_permits *p, const struct hub_who *who,
                       struct bt_slice topic)
{
    bool ok = false;

    for (size_t i = 0; !ok && i < p->n_permit; i++)
        ok = one_topic(&p->permit[i], who, topic, false);
    for (size_t i = 0; ok && i < p->n_deny; i++)
        ok = !one_topic(&p->deny[i], who, topic, true);
    return ok;
}

static struct bt_slice look_through(struct bt_slice filter)
{
    size_t at = SHARE_PREFIX_LEN;

    if (filter.len <= at || memcmp(filter.ptr, SHARE_PREFIX, at) != 0)
        return filter;
    (void)next_level(filter, &at);
    return at > filter.len ? (struct bt_slice){ filter.ptr, 0 }
                           : (struct bt_slice){ filter.ptr + at, filter.len - at };
}

bool hub_permits_filter(const struct hub_permits *p, const struct hub_who *who,
                        struct bt_slice filter)
{
    bool ok = false;

    filter = look_through(filter);
    for (size_t i = 0; !ok && i < p->n_permit; i++) {
        struct walk w = { .who = who, .permit = p->permit[i].text, .other = filter };

        ok = covers(&w);
    }
    for (size_t i = 0; ok && i < p->n_deny; i++) {
        struct walk w = {
            .who = who, .permit = p->deny[i].text, .other = filter, .loose = true
        };

        ok = !meets(&w);
    }
    return ok;
}
