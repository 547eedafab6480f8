/* The certificates of the TLS listeners: contexts built from files, built anew when the
 * files change, told about before they expire. docs/tls.md says the policy. */
#ifndef HUB_CERTS_H
#define HUB_CERTS_H

#include "core/loop.h"
#include "core/tls.h"
#include "hub/hub.h"

struct hub_certs; /* all of a hub */
struct hub_cert;  /* one set of files, shared by the listeners that name the same */

/* Main thread, with the main loop. storage_dir: its files tell the time when the clock
 * does not; both live as long as the result. NULL when out of memory. */
struct hub_certs *hub_certs_new(struct bt_loop *main_loop,
                                const char *storage_dir) BT_MUST_CHECK;
/* Main thread, when nobody calls hub_cert_context any more. NULL is fine. */
void hub_certs_free(struct hub_certs *c);
/* Main thread, before start. Reads the files. The strings of conf live as long as all.
 * BT_ETLS (logged), BT_ENOMEM. */
int hub_certs_add(struct hub_certs *all, const struct hub_cert_conf *conf,
                  struct hub_cert **out) BT_MUST_CHECK;
/* Any thread: a new reference to the context for a fresh connection. */
struct bt_tls_ctx *hub_cert_context(struct hub_cert *cert);
/* Any thread: read all files again soon, changed or not. */
void hub_certs_reload(struct hub_certs *c);

#endif
