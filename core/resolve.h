/* Names to addresses without waiting. getaddrinfo blocks, for half a minute when a name
 * server is silent; so it runs on threads that exist only while names are looked up: at
 * most BT_RESOLVE_THREADS in the process, the rest waits in a queue. */
#ifndef CORE_RESOLVE_H
#define CORE_RESOLVE_H

#include <sys/socket.h>

#include "core/base.h"
#include "core/loop.h"

#define BT_RESOLVE_THREADS   4u
#define BT_RESOLVE_QUEUE     256u /* lookups that wait for a thread */
#define BT_RESOLVE_ADDRESSES 16u  /* of one name; more are left out */
#define BT_RESOLVE_HOST_LEN  256u
#define BT_RESOLVE_PORT_LEN  8u

struct bt_address {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* What a loop's lookups belong to. Functions below: the loop's thread, or any while the
 * loop does not run. */
struct bt_resolver;
struct bt_lookup;

/* n addresses in the order to try them, or n = 0 and `why`, one line. Borrowed for the
 * call. Called from the loop, never from inside bt_resolve. */
typedef void (*bt_resolve_fn)(void *arg, const struct bt_address *addresses, size_t n,
                              const char *why);

/* NULL when out of memory. */
struct bt_resolver *bt_resolver_new(struct bt_loop *loop) BT_MUST_CHECK;
/* Cancels what is under way; no callback follows. Does not wait. NULL is fine. */
void bt_resolver_free(struct bt_resolver *r);

/* Look up host (a name, or a numeric address, which needs no thread) and a numeric port.
 * *out is valid until the callback begins or bt_resolve_cancel. 0, BT_ENOMEM, BT_EINVAL
 * (a text is too long), BT_ELIMIT (the queue is full) or BT_EIO (no thread). */
int bt_resolve(struct bt_resolver *r, const char *host, const char *port,
               bt_resolve_fn fn, void *arg, struct bt_lookup **out) BT_MUST_CHECK;
/* No callback follows. */
void bt_resolve_cancel(struct bt_lookup *lookup);

#endif
