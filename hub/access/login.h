/* The login of a connection: what may be looked at when, what was right before, and who
 * computes hashes. hub/access/auth.h says who it is. Worker's thread only. */
#ifndef HUB_LOGIN_H
#define HUB_LOGIN_H

#include "hub/access/check.h"
#include "hub/access/throttle.h"
#include "hub/net/conn.h"

/* What only some connections need: a login that takes its time, limits of rate. Made when
 * it is needed and freed with the connection, at the latest. */
struct hub_guard {
    struct hub_conn *conn;
    struct bt_timer timer;
    struct hub_check *check;               /* on its way; its owner is this guard */
    const struct hub_principal *principal; /* of the answer */
    uint8_t state;                         /* enum of hub/access/login.c */
    /* hub/access/meter.c */
    struct hub_bucket messages, bytes;
};
struct hub_guard *hub_guard_of(struct hub_conn *c) BT_MUST_CHECK; /* NULL: no memory */
void hub_guard_free(struct hub_guard *g);                         /* NULL is fine */

/* Passwords that were right lately, by a keyed hash of address, user and password; lost
 * with every reload. One for each worker. */
struct hub_proofs;
void hub_proofs_free(struct hub_proofs *p); /* NULL is fine */

#define HUB_LOGIN_WAITS 0xffff
/* 0: *out is who it is; the MQTT reason to refuse with; HUB_LOGIN_WAITS: the connection
 * is paused and the same CONNECT packet must be handled again when it is not. */
int hub_login(struct hub_conn *c, const struct bt_mqtt_connect *m,
              const struct hub_principal **out) BT_MUST_CHECK;
/* HUB_W_CHECKED. Takes msg. */
void hub_login_checked(struct hub_worker *w, struct bt_msg *msg);

#endif
