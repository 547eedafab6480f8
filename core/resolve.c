/* One queue and a few threads for the whole process. A lookup waits in the queue, runs on
 * a thread, and comes back through its loop's mailbox. A thread ends when the queue is
 * empty, so that an idle process has none and a stop has nothing to wait for.
 *
 *   WAITING -> RUNNING -> POSTED -> callback
 *
 * Cancelling: a waiting lookup is taken out; a running one is left to its thread, which
 * frees it instead of posting; a posted one is freed when the mailbox hands it over. The
 * lock is held over the look at the state and the post, so after a cancel nobody posts to
 * a mailbox that is about to go.
 *
 * Failure modes: a queue that is full and a thread that cannot be started are told to the
 * caller; a name that is not found is an answer. */
#include "core/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/list.h"
#include "core/mbox.h"
#include "core/mem.h"
#include "core/sys.h"

enum state { WAITING, RUNNING, POSTED };

struct bt_lookup {
    struct bt_msg msg;
    struct bt_list in_queue, in_resolver;
    struct bt_resolver *resolver; /* NULL: cancelled */
    enum state state;             /* under the lock */
    bt_resolve_fn fn;
    void *arg;
    char host[BT_RESOLVE_HOST_LEN], port[BT_RESOLVE_PORT_LEN];
    struct bt_address addresses[BT_RESOLVE_ADDRESSES];
    size_t n;
    char why[128];
};

struct bt_resolver {
    struct bt_mbox *mbox;
    struct bt_list lookups; /* loop's thread */
};

/* Guards the queue and the lookups' state and resolver. Held for a few instructions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bt_list queue = { &queue, &queue };
static unsigned n_waiting, n_threads;

static int (*look_up)(const char *host, const char *port, const struct addrinfo *hints,
                      struct addrinfo **out) = getaddrinfo;

/* ---- Threads ---- */

static void take_addresses(struct bt_lookup *l, const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; a != NULL && l->n < BT_RESOLVE_ADDRESSES;
         a = a->ai_next) {
        if (a->ai_addrlen > sizeof(l->addresses[0].sa))
            continue;
        memcpy(&l->addresses[l->n].sa, a->ai_addr, a->ai_addrlen);
        l->addresses[l->n++].len = a->ai_addrlen;
    }
}

/* Whether the name has addresses. */
static bool ask(struct bt_lookup *l, int flags)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = flags };
    struct addrinfo *list = NULL;
    int r = look_up(l->host, l->port, &hints, &list);

    if (r == 0) {
        take_addresses(l, list);
        freeaddrinfo(list);
    }
    if (l->n == 0)
        snprintf(l->why, sizeof(l->why), "%s", r != 0 ? gai_strerror(r) : "no address");
    return l->n > 0;
}

/* Under the lock. */
static void post(struct bt_lookup *l)
{
    l->state = POSTED;
    if (l->resolver == NULL || bt_mbox_post(l->resolver->mbox, &l->msg) != 0)
        bt_free(l);
}

static void *run(void *arg)
{
    bt_sys_thread_name("resolve");
    pthread_mutex_lock(&lock);
    while (!bt_list_empty(&queue)) {
        struct bt_lookup *l =
            bt_list_entry(bt_list_first(&queue), struct bt_lookup, in_queue);

        bt_list_remove(&l->in_queue);
        n_waiting--;
        l->state = RUNNING;
        pthread_mutex_unlock(&lock);
        (void)ask(l, 0);
        pthread_mutex_lock(&lock);
        post(l);
    }
    n_threads--;
    pthread_mutex_unlock(&lock);
    return arg;
}

/* Signals are the main thread's. */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    int r;

    if (pthread_attr_init(&attr) != 0)
        return BT_EIO;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&thread, &attr, run, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return r == 0 ? 0 : BT_EIO;
}

/* Under the lock. A lookup that no thread will ever take is refused. */
static int enqueue(struct bt_lookup *l)
{
    if (n_waiting >= BT_RESOLVE_QUEUE)
        return BT_ELIMIT;
    if (n_threads < BT_RESOLVE_THREADS) {
        if (start_thread() == 0)
            n_threads++;
        else if (n_threads == 0)
            return BT_EIO;
    }
    bt_list_push_back(&queue, &l->in_queue);
    n_waiting++;
    return 0;
}

/* ---- The loop's side ---- */

static void on_msg(void *arg, struct bt_msg *msg)
{
    struct bt_lookup *l = bt_container_of(msg, struct bt_lookup, msg);

    (void)arg;
    if (l->resolver != NULL) {
        bt_list_remove(&l->in_resolver);
        l->fn(l->arg, l->addresses, l->n, l->why);
    }
    bt_free(l);
}

struct bt_resolver *bt_resolver_new(struct bt_loop *loop)
{
    struct bt_resolver *r = bt_calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    bt_list_init(&r->lookups);
    r->mbox = bt_mbox_new(loop, on_msg, r);
    if (r->mbox != NULL)
        return r;
    bt_free(r);
    return NULL;
}

void bt_resolver_free(struct bt_resolver *r)
{
    struct bt_list *it, *next;

    if (r == NULL)
        return;
    bt_list_for_each_safe (it, next, &r->lookups)
        bt_resolve_cancel(bt_list_entry(it, struct bt_lookup, in_resolver));
    bt_mbox_close(r->mbox);
    bt_mbox_free(r->mbox);
    bt_free(r);
}

int bt_resolve(struct bt_resolver *r, const char *host, const char *port,
               bt_resolve_fn fn, void *arg, struct bt_lookup **out)
{
    struct bt_lookup *l;
    int result = 0;

    *out = NULL;
    if (strlen(host) >= BT_RESOLVE_HOST_LEN || strlen(port) >= BT_RESOLVE_PORT_LEN)
        return BT_EINVAL;
    l = bt_calloc(1, sizeof(*l));
    if (l == NULL)
        return BT_ENOMEM;
    l->resolver = r;
    l->fn = fn;
    l->arg = arg;
    memcpy(l->host, host, strlen(host));
    memcpy(l->port, port, strlen(port));
    bt_list_push_back(&r->lookups, &l->in_resolver);
    pthread_mutex_lock(&lock);
    if (ask(l, AI_NUMERICHOST | AI_NUMERICSERV))
        post(l);
    else
        result = enqueue(l);
    pthread_mutex_unlock(&lock);
    if (result != 0) {
        bt_list_remove(&l->in_resolver);
        bt_free(l);
        return result;
    }
    *out = l;
    return 0;
}

void bt_resolve_cancel(struct bt_lookup *l)
{
    bool mine;

    bt_list_remove(&l->in_resolver);
    pthread_mutex_lock(&lock);
    mine = l->state == WAITING;
    if (mine) {
        bt_list_remove(&l->in_queue);
        n_waiting--;
    }
    l->resolver = NULL;
    pthread_mutex_unlock(&lock);
    if (mine)
        bt_free(l);
}
