/* What a principal may do with topics: lists of filters that permit and that deny, with
 * the client's identifier and user name filled in. Read-only after they were built; any
 * thread. */
#ifndef HUB_PERMIT_H
#define HUB_PERMIT_H

#include "core/base.h"

/* Whom a check is for. Both may be empty. */
struct hub_who {
    struct bt_slice client_id, username;
};

/* A filter in which %c stands for the client's identifier and %u for its user name.
 *
 * A value can stand in only when it cannot change what the filter means: it is not empty,
 * has no + # or /, and does not begin with $. With another value a filter that permits
 * matches nothing, and one that denies matches as though any value stood there. */
struct hub_permit {
    struct bt_slice text; /* borrowed */
    bool vars;            /* has %c or %u */
};

struct hub_permits {
    struct hub_permit *permit, *deny;
    size_t n_permit, n_deny;
};

struct hub_permit hub_permit_of(const char *text);
/* A topic is permitted when a permit matches it and no deny does. */
bool hub_permits_topic(const struct hub_permits *p, const struct hub_who *who,
                       struct bt_slice topic);
/* A filter is permitted when one permit covers it and no deny matches any topic that the
 * filter can match. So whatever it delivers is permitted. $share/name/ is looked through.
 */
bool hub_permits_filter(const struct hub_permits *p, const struct hub_who *who,
                        struct bt_slice filter);

#endif
