/* The idea: metrics are static objects in a singly linked list that only grows; values
 * are atomics that never need the lock. The lock guards the list's links; each step of a
 * walk takes it anew, so that the callback runs unlocked and may register more. A second
 * lock guards the sources and is held while one of them works, so that removing one waits
 * for it. */
#include "core/metric.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bt_metric *first;
static pthread_mutex_t source_lock = PTHREAD_MUTEX_INITIALIZER;
static struct bt_metric_source *sources;

void bt_metric_register(struct bt_metric *m)
{
    struct bt_metric **at = &first;

    if (atomic_exchange(&m->registered, true))
        return;
    pthread_mutex_lock(&lock);
    for (struct bt_metric **p = &first; *p != NULL; p = &(*p)->next)
        if (strcmp((*p)->name, m->name) == 0)
            at = &(*p)->next;
    if (at == &first)
        while (*at != NULL)
            at = &(*at)->next;
    m->next = *at;
    *at = m;
    pthread_mutex_unlock(&lock);
}

void bt_metric_register_all(struct bt_metric *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bt_metric_register(&m[i]);
}

int64_t bt_metric_get(const struct bt_metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* The metric after m, or the first one for NULL. */
static struct bt_metric *following(const struct bt_metric *m)
{
    struct bt_metric *next;

    pthread_mutex_lock(&lock);
    next = m == NULL ? first : m->next;
    pthread_mutex_unlock(&lock);
    return next;
}

void bt_metric_each(void (*fn)(void *arg, const struct bt_metric *m), void *arg)
{
    struct bt_metric *m;

    for (m = following(NULL); m != NULL; m = following(m))
        fn(arg, m);
}

void bt_metric_observe(struct bt_metric *m, int64_t n)
{
    struct bt_histogram *h = m->hist;
    size_t i = 0;

    while (i < BT_HISTOGRAM_BOUNDS && h->bounds[i] != 0 && n > h->bounds[i])
        i++;
    if (i < BT_HISTOGRAM_BOUNDS && h->bounds[i] == 0)
        i = BT_HISTOGRAM_BOUNDS;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    bt_metric_add(m, n);
}

/* ---- Sources ---- */

void bt_metric_source_add(struct bt_metric_source *s)
{
    pthread_mutex_lock(&source_lock);
    s->next = sources;
    sources = s;
    pthread_mutex_unlock(&source_lock);
}

void bt_metric_source_remove(struct bt_metric_source *s)
{
    struct bt_metric_source **at = &sources;

    pthread_mutex_lock(&source_lock);
    while (*at != NULL && *at != s)
        at = &(*at)->next;
    if (*at != NULL)
        *at = s->next;
    pthread_mutex_unlock(&source_lock);
}

void bt_metric_refresh(void)
{
    pthread_mutex_lock(&source_lock);
    for (struct bt_metric_source *s = sources; s != NULL; s = s->next)
        s->fn(s->arg);
    pthread_mutex_unlock(&source_lock);
}

/* ---- Text ---- */

void bt_metric_format(const struct bt_metric *m, int64_t value,
                      char out[BT_METRIC_VALUE_MAX])
{
    if (m->per <= 1)
        (void)snprintf(out, BT_METRIC_VALUE_MAX, "%" PRId64, value);
    else
        (void)snprintf(out, BT_METRIC_VALUE_MAX, "%.6f", (double)value / m->per);
}

struct text {
    struct bt_buf *out;
    const char *family; /* NULL before the first */
    int r;
};

static void say(struct text *t, const struct bt_metric *m, const char *suffix,
                const char *more, int64_t value, uint32_t per)
{
    struct bt_metric shown = { .per = per };
    char number[BT_METRIC_VALUE_MAX];
    bool both = m->labels != NULL && *more != '\0';
    bool any = m->labels != NULL || *more != '\0';

    bt_metric_format(&shown, value, number);
    if (t->r == 0)
        t->r = bt_buf_printf(t->out, "%s%s%s%s%s%s%s %s\n", m->name, suffix,
                             any ? "{" : "", m->labels != NULL ? m->labels : "",
                             both ? "," : "", more, any ? "}" : "", number);
}

static void say_histogram(struct text *t, const struct bt_metric *m)
{
    const struct bt_histogram *h = m->hist;
    int64_t sum = 0;

    for (size_t i = 0; i < BT_HISTOGRAM_BOUNDS && h->bounds[i] != 0; i++) {
        char number[BT_METRIC_VALUE_MAX], le[BT_METRIC_VALUE_MAX + 8];

        sum += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        bt_metric_format(m, h->bounds[i], number);
        (void)snprintf(le, sizeof(le), "le=\"%s\"", number);
        say(t, m, "_bucket", le, sum, 1);
    }
    sum += atomic_load_explicit(&h->counts[BT_HISTOGRAM_BOUNDS], memory_order_relaxed);
    say(t, m, "_bucket", "le=\"+Inf\"", sum, 1);
    say(t, m, "_sum", "", bt_metric_get(m), m->per);
    say(t, m, "_count", "", sum, 1);
}

static void say_metric(void *arg, const struct bt_metric *m)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    struct text *t = arg;

    if (t->r == 0 && (t->family == NULL || strcmp(t->family, m->name) != 0))
        t->r = bt_buf_printf(t->out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
                             m->name, kinds[m->kind]);
    t->family = m->name;
    if (m->kind == BT_HISTOGRAM)
        say_histogram(t, m);
    else
        say(t, m, "", "", bt_metric_get(m), m->per);
}

int bt_metric_text(struct bt_buf *out)
{
    struct text t = { .out = out };

    bt_metric_each(say_metric, &t);
    return t.r;
}
