/* Who may connect, publish and subscribe. Built from the configuration, read-only
 * afterwards (but for the counts of who is connected), any thread. A reload builds a new
 * one; principals of the old one live until the old one is freed. */
#ifndef HUB_AUTH_H
#define HUB_AUTH_H

#include "core/password.h"
#include "hub/access/permit.h"
#include "hub/hub.h"
#include "hub/net/stream.h"

struct hub_auth;
struct hub_principal;

/* loopback_only: every listener is loopback or a Unix socket, so anonymous clients are
 * allowed when there are no principals. before: the one this replaces, or NULL; who is
 * connected goes on counting. */
int hub_auth_new(const struct hub_conf *conf, bool loopback_only,
                 const struct hub_auth *before, struct hub_auth **out) BT_MUST_CHECK;
void hub_auth_free(struct hub_auth *a);
/* The principal with this name, of a stored session: never NULL; one that may do nothing
 * when it is no longer configured ("" = anonymous). */
const struct hub_principal *hub_auth_find(const struct hub_auth *a, const char *name);

/* What a listener says about clients without a user name. */
enum hub_anonymous { HUB_ANONYMOUS_BY_CONF, HUB_ANONYMOUS_YES, HUB_ANONYMOUS_NO };

/* A login attempt. */
struct hub_login {
    bool has_user, has_password;
    struct bt_slice username, password;
    const struct hub_peer *peer; /* NULL: a transport without names */
    enum hub_anonymous anonymous;
};
#define HUB_LOGIN_REFUSED 1 /* MQTT 3.1.1 return code 4, MQTT 5.0 0x86 */
#define HUB_LOGIN_WORK    2 /* decided by *work, which takes long: see below */
/* 0: *out is who it is. HUB_LOGIN_REFUSED. HUB_LOGIN_WORK: compute *work elsewhere
 * (bt_password_check with the password); when it is right and *out is not NULL, the login
 * is good. An unknown user gets work, too, and costs what a wrong password costs. */
int hub_auth_login(const struct hub_auth *a, const struct hub_login *in,
                   const struct hub_principal **out,
                   const struct bt_password **work) BT_MUST_CHECK;

/* Whether there are hashes, so that somebody must compute them. */
bool hub_auth_has_hashes(const struct hub_auth *a);
/* The configured principal with this name, or NULL. */
const struct hub_principal *hub_auth_named(const struct hub_auth *a,
                                           struct bt_slice name);
/* The principal of trusted in-process clients: everything is permitted. */
const struct hub_principal *hub_auth_internal(const struct hub_auth *a);
const char *hub_principal_name(const struct hub_principal *p); /* "" for anonymous */
/* Whether a client that logged in as `was` is still logged in after the reload that made
 * `is` of its name: same password or certificate. */
bool hub_principal_same_login(const struct hub_principal *was,
                              const struct hub_principal *is);
bool hub_principal_may_publish(const struct hub_principal *p, struct bt_slice client_id,
                               struct bt_slice topic);
/* True only when every topic the filter can match is permitted ($share/name/ is looked
 * through). */
bool hub_principal_may_subscribe(const struct hub_principal *p, struct bt_slice client_id,
                                 struct bt_slice filter);
/* Its own limits, with those of the hub where it has none; for NULL: none. Never NULL. */
const struct hub_client_limits *hub_principal_limits(const struct hub_principal *p);
/* A connection of this principal begins; false (and not counted) when `room` more than
 * its limit are there. Anonymous and internal clients have no such limit. */
bool hub_principal_enter(const struct hub_principal *p, uint32_t room);
void hub_principal_leave(const struct hub_principal *p);

#endif
