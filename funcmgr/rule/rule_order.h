/* Order strict: of the jobs of one rule with the same topic one runs at a time, first
 * come, first served. Topics do not wait for each other. The function manager's thread
 * only. */
#ifndef FUNCMGR_RULE_ORDER_H
#define FUNCMGR_RULE_ORDER_H

#include "core/buf.h"
#include "core/list.h"

#define FM_ORDER_BUCKETS 256u

/* Embedded in what waits. Zero-initialise, then set topic, which stays valid. */
struct fm_turn {
    struct bt_list link;   /* whose turn it is: a bucket; the others: its `behind` */
    struct bt_list behind; /* those of the same topic, in order */
    struct bt_slice topic;
    uint32_t hash;
};

/* Zero-initialised: everybody's turn is at once. */
struct fm_order {
    struct bt_list *buckets; /* FM_ORDER_BUCKETS lists of struct fm_turn */
    bool off;                /* nobody new waits */
};

/* 0 or BT_ENOMEM. */
int fm_order_init(struct fm_order *o) BT_MUST_CHECK;
/* Nobody may be in it. */
void fm_order_deinit(struct fm_order *o);
/* true: it is its turn now. false: fm_order_leave of another one will return it. */
bool fm_order_enter(struct fm_order *o, struct fm_turn *t);
/* It is done, or does not want to wait any more. The one whose turn it is now, or NULL.
 */
struct fm_turn *fm_order_leave(struct fm_order *o, struct fm_turn *t);

#endif
