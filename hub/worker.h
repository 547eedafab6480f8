/* An I/O worker: one thread, one loop, the sessions whose client id hashes to it and the
 * connections being served. Everything here is for the worker's own thread unless it says
 * otherwise. */
#ifndef HUB_WORKER_H
#define HUB_WORKER_H

#include <pthread.h>

#include "core/list.h"
#include "core/mbox.h"
#include "hub/access/quiet.h"
#include "hub/hub_internal.h"
#include "hub/observe/stats.h"
#include "hub/route/transit.h"
#include "hub/route/xbatch.h"
#include "hub/session/session.h"
#include "hub/settings.h"

/* Kinds of messages in a worker's mailbox. */
enum hub_worker_msg {
    HUB_W_ACCEPT,    /* struct hub_accepted: a fresh descriptor */
    HUB_W_ADOPT,     /* struct hub_conn: its session lives here */
    HUB_W_DELIVER,   /* struct hub_xbatch */
    HUB_W_PUBLISHED, /* struct hub_unacked: its commit is done */
    HUB_W_ANSWER,    /* struct hub_answer: its commit is done */
    HUB_W_ROWS,      /* struct hub_store_rows */
    HUB_W_LEFT,      /* struct hub_leaving: its messages are safe with others */
    HUB_W_MOVED,     /* struct hub_ticket: what was moved is safe (hub/session/move.h) */
    HUB_W_DONE,      /* struct hub_op that asked for it: its commit is done */
    HUB_W_LOCAL,     /* struct hub_local_msg: from an in-process client */
    HUB_W_CHECKED,   /* struct hub_check: a password was checked */
    HUB_W_SETTINGS,  /* struct hub_settings_msg: after a reload */
    HUB_W_QUERY,     /* struct hub_query: of the control socket */
    HUB_W_SYS,       /* of struct hub_sys: somebody subscribed */
    HUB_W_STOP,      /* close everything, then count down */
    HUB_W_QUIT,      /* leave the loop */
    HUB_W_OPEN,      /* worker 0: accept connections from now on */
    HUB_W_ROOM,      /* other workers have room again (hub/route/transit.h) */
};

#define HUB_SCRATCH 131072u
#define HUB_TICK_MS 500u

struct hub_accepted {
    struct bt_msg msg;
    int fd;
    const struct hub_listener_opts *opts;
};

struct hub_proofs;
struct hub_session_map {
    struct hub_session **by_id, **by_sid;
    uint32_t cap, n;
};

struct hub_leaving;

struct hub_worker {
    struct hub *hub;
    struct hub_quiet quiet[HUB_QUIET_N];
    struct hub_proofs *proofs; /* hub/access/login.h; NULL until a password was right */
    struct hub_settings *settings; /* what a reload changes; see hub/settings.h */
    const struct hub_conf *conf;   /* of the settings */
    uint32_t index;
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    pthread_t thread;
    bool running, stopping;
    struct hub_cache *cache;
    struct hub_batch batch;
    bool gathered; /* this turn: what other workers submit needs our batch before it */
    struct hub_xbatch *out[HUB_MAX_WORKERS];
    struct hub_session_map sessions;
    struct hub_leaving *leaving; /* sessions on their way (hub/session/share.c) */
    struct bt_list fresh;        /* connections without CONNECT, the oldest first */
    uint32_t n_fresh;
    struct bt_list conns;     /* all other connections of this worker */
    struct bt_list dirty;     /* with output to flush at the end of the turn */
    struct bt_list graveyard; /* closed, freed at the end of the turn */
    struct bt_list locals;    /* in-process clients whose session lives here */
    struct bt_timer tick;
    struct bt_timer stopped; /* the turn after the one that closed all connections */
    struct bt_msg stop_msg, quit_msg, open_msg;
    uint8_t *scratch;
    struct hub_counts counts;
    struct hub_transit transit;
    struct hub_recorder *recorder; /* NULL until there is something to record */
};

struct hub_worker *hub_worker_new(struct hub *hub, uint32_t index) BT_MUST_CHECK;
/* After its thread and the store's: nothing is posted to it or waits for it any more. */
void hub_worker_close(struct hub_worker *w);
void hub_worker_free(struct hub_worker *w);               /* all workers are closed */
int hub_worker_start(struct hub_worker *w) BT_MUST_CHECK; /* main thread */
void hub_worker_join(struct hub_worker *w); /* main thread, after HUB_W_QUIT */

struct hub_session *hub_worker_find(const struct hub_worker *w, struct bt_slice id);
struct hub_session *hub_worker_find_sid(const struct hub_worker *w, uint64_t sid);
int hub_worker_add_session(struct hub_worker *w, struct hub_session *s) BT_MUST_CHECK;
void hub_worker_remove_session(struct hub_worker *w, struct hub_session *s);
/* Start the half-second tick when something needs it. */
void hub_worker_need_tick(struct hub_worker *w);

/* Again to one member of the shared subscription with this id. false: none has room now;
 * force: one that is busy may have it too. */
bool hub_route_share(struct hub_worker *w, struct hub_pub *pub, uint32_t share,
                     bool force, struct hub_ticket *ticket);
/* Route a publish to everybody: sessions of this worker now, others by batch, retained
 * tree and store. ticket may be NULL. Returns how many sessions or other workers got it.
 */
uint32_t hub_route(struct hub_worker *w, struct hub_pub *pub, struct hub_ticket *ticket);
/* hub/route/rules.c: the copies that topic rules make of pub. */
void hub_rules_route(struct hub_worker *w, const struct hub_pub *pub,
                     struct hub_ticket *ticket);
bool hub_rules_must_store(struct hub_worker *w, const struct hub_pub *pub);
/* A batch from another worker. Takes b. */
void hub_route_batch(struct hub_worker *w, struct hub_xbatch *b);
/* Post what this turn gathered for other workers. */
void hub_route_flush(struct hub_worker *w);
/* Whether a publish needs a commit before it is acknowledged. */
bool hub_route_must_store(struct hub_worker *w, const struct hub_pub *pub);

#endif
