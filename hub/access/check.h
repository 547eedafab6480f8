/* Checking passwords against hashes, which takes long, on a thread of its own. */
#ifndef HUB_CHECK_H
#define HUB_CHECK_H

#include "core/mbox.h"
#include "hub/access/auth.h"
#include "hub/net/ip.h"

struct hub_checker;
struct hub_settings;

#define HUB_CHECK_MAX 512u /* waiting at once; more are answered "busy" */

/* One password on its way there and back. */
struct hub_check {
    struct bt_msg msg;
    struct bt_mbox *reply_to; /* gets it back as `reply_kind` */
    uint32_t reply_kind;
    /* The asker's, untouched by the thread: who waits (NULL: nobody any more) and what
     * is called there. done takes the check. */
    void *owner;
    void (*done)(struct hub_check *c);
    struct hub_settings *settings;         /* one reference: keeps principal and work */
    const struct hub_principal *principal; /* NULL: an unknown user */
    const struct bt_password *work;
    struct hub_ip ip; /* askers of one address take turns with those of others */
    /* The answer. */
    bool good, busy;
    uint64_t turn;
    size_t password_len;
    uint8_t password[];
};

/* A copy of the password and a reference on the settings; NULL: out of memory. */
struct hub_check *hub_check_new(struct hub_settings *settings,
                                struct bt_slice password) BT_MUST_CHECK;
void hub_check_free(struct hub_check *c); /* wipes the password; NULL is fine */

/* Main thread. The thread is started at once and sleeps. */
int hub_checker_start(struct hub_checker **out) BT_MUST_CHECK;
/* Main thread, after the last asker's loop has ended. NULL is fine. */
void hub_checker_stop(struct hub_checker *k);
/* Any thread. Takes c; it comes back by its mailbox, unless the hub ends. k NULL: busy.
 */
void hub_checker_submit(struct hub_checker *k, struct hub_check *c);

#endif
