/* What is remembered of addresses: failed logins and new connections. A bounded table;
 * the address that was not seen for longest makes room. Any thread. Times are monotonic
 * milliseconds that the caller gives. */
#ifndef HUB_THROTTLE_H
#define HUB_THROTTLE_H

#include "hub/net/ip.h"

struct hub_throttle;

struct hub_throttle *hub_throttle_new(void) BT_MUST_CHECK; /* NULL: out of memory */
void hub_throttle_free(struct hub_throttle *t);            /* NULL is fine */

#define HUB_THROTTLE_FULL (-1)
/* A login attempt from this address: how many ms from now on its password may be looked
 * at. 0 for an address without failures; after some failures attempts are looked at one
 * after the other, with growing pauses of up to 4 s between them. HUB_THROTTLE_FULL: more
 * are waiting than may; to be refused unseen. */
int hub_throttle_login(struct hub_throttle *t, struct hub_ip ip, uint64_t now_ms);
/* The attempt failed. Forgotten at one every 10 s. */
void hub_throttle_failed(struct hub_throttle *t, struct hub_ip ip, uint64_t now_ms);
/* A new connection: false when this address makes more than `rate` a second; twice the
 * rate may come at once. */
bool hub_throttle_connect(struct hub_throttle *t, struct hub_ip ip, uint32_t rate,
                          uint64_t now_ms);

/* A token bucket of `burst`, filled by `rate` a second; zero-initialise. */
struct hub_bucket {
    int64_t level; /* in thousandths, below `burst` by what was used */
    uint64_t at_ms;
    bool begun;
};
/* Fill up to now; then what is left (in whole units, below 0 when overdrawn). */
int64_t hub_bucket_left(struct hub_bucket *b, uint64_t rate, uint64_t burst,
                        uint64_t now_ms);
/* Use n, also when it overdraws. */
void hub_bucket_use(struct hub_bucket *b, uint64_t n);
/* Milliseconds until a unit is there again; 0 when one is. */
uint64_t hub_bucket_wait(const struct hub_bucket *b, uint64_t rate);

#endif
