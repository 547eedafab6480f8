/* The idea: metrics are static objects in a singly linked list that only grows; values
 * are atomics that never need the lock. The lock guards the list's links; each step of a
 * walk takes it anew, so that the callback runs unlocked and may register more. */
#include "core/metric.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bt_metric *first;
static struct bt_metric **last = &first;

void bt_metric_register(struct bt_metric *m)
{
    if (atomic_exchange(&m->registered, true))
        return;
    m->next = NULL;
    pthread_mutex_lock(&lock);
    *last = m;
    last = &m->next;
    pthread_mutex_unlock(&lock);
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
