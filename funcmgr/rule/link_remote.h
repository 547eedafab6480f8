/* Links to brokers elsewhere, and what those of one hub block share. */
#ifndef FUNCMGR_LINK_REMOTE_H
#define FUNCMGR_LINK_REMOTE_H

#include "funcmgr/rule/link.h"

struct bt_resolver;
struct bt_tls_ctx;

struct fm_remote {
    struct fm_remote *next;
    const struct fm_hub_conf *conf;
    struct bt_resolver *resolver;
    struct bt_tls_ctx *tls; /* NULL: an address without TLS */
};
/* Those of one configuration. Zero-initialise. Main thread, while the loop does not run.
 */
struct fm_remotes {
    struct bt_resolver *resolver;
    struct fm_remote *first;
};
/* The one of this hub block, made (and its certificate files read) when it is new. 0 or a
 * fatal code, logged. */
int fm_remotes_get(struct fm_remotes *all, struct bt_loop *loop,
                   const struct fm_hub_conf *conf,
                   const struct fm_remote **out) BT_MUST_CHECK;
void fm_remotes_deinit(struct fm_remotes *all); /* may run twice */

#endif
