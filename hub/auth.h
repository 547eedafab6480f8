/* Who may connect, publish and subscribe. Built once from the configuration, read-only
 * afterwards, any thread. */
#ifndef HUB_AUTH_H
#define HUB_AUTH_H

#include "hub/hub.h"

struct hub_auth;
struct hub_principal;

/* loopback_only: every listener is loopback or a Unix socket, so anonymous clients are
 * allowed when there are no principals. */
int hub_auth_new(const struct hub_conf *conf, bool loopback_only,
                 struct hub_auth **out) BT_MUST_CHECK;
void hub_auth_free(struct hub_auth *a);
/* The principal with this name, of a stored session; NULL when it is no longer configured
 * ("" = anonymous). */
const struct hub_principal *hub_auth_find(const struct hub_auth *a, const char *name);
/* NULL: refused (MQTT 3.1.1 return code 4, MQTT 5.0 0x86). Constant-time compare; an
 * unknown user costs as much as a wrong password. has_user false: anonymous. */
const struct hub_principal *hub_auth_login(const struct hub_auth *a, bool has_user,
                                           struct bt_slice username, bool has_password,
                                           struct bt_slice password);
/* The principal of trusted in-process clients: everything is permitted. */
const struct hub_principal *hub_auth_internal(const struct hub_auth *a);
const char *hub_principal_name(const struct hub_principal *p); /* "" for anonymous */
bool hub_principal_may_publish(const struct hub_principal *p, struct bt_slice topic);
/* True only when every topic the filter can match is permitted ($share/name/ is looked
 * through). */
bool hub_principal_may_subscribe(const struct hub_principal *p, struct bt_slice filter);

#endif
