/* Functions called by MQTT 5 request and response (§4.10): a session at the hub of this
 * process that takes requests of all functions and publishes the results to the Response
 * Topic of each. The function manager's thread only. */
#ifndef FUNCMGR_REQUESTS_H
#define FUNCMGR_REQUESTS_H

#include "funcmgr/calls/calls.h"
#include "funcmgr/quiet.h"
#include "hub/hub.h"

/* Unacknowledged requests at QoS 1 and 2. */
#define FM_REQUESTS_WINDOW 1024u
/* When so many of them were left in it the session is opened again, and they come again.
 */
#define FM_REQUESTS_MAX_LEFT (FM_REQUESTS_WINDOW / 2)
/* Requests at QoS 0 under way, and bytes of their payloads, before more are dropped. */
#define FM_REQUESTS_MAX_JOBS  1024u
#define FM_REQUESTS_MAX_BYTES ((size_t)16 * 1024 * 1024)

struct fm_requests {
    const struct fm_conf *conf;
    struct fm_calls_env env;
    struct hub *hub;
    struct hub_client *client; /* NULL while there is no session */
    char *filter;
    size_t prefix, suffix; /* bytes of the topic before and after the name */
    struct bt_list jobs;
    size_t n_jobs, n_qos0, n_bytes; /* at QoS 0: number and payloads */
    bool clean;                     /* the session does not outlive its client */
    size_t n_left;  /* of this session: left unacknowledged, each in its window */
    uint64_t pause; /* ms before the session is opened again */
    struct bt_timer reopen_timer;
    struct fm_quiet dropped, lost;
    const char *lost_why;
    bool closing, closed, told;
    void *arg;
    /* Once: the hub has answered the first opening. */
    void (*answered)(void *arg);
    void (*drained)(void *arg); /* once after fm_requests_close */
};

/* conf->calls.topic is given and checked. 0 or BT_ENOMEM; _deinit either way. */
int fm_requests_init(struct fm_requests *r, const struct fm_conf *conf,
                     const struct fm_calls_env *env, struct hub *hub) BT_MUST_CHECK;
void fm_requests_deinit(struct fm_requests *r); /* drained, or never opened */
/* Open the session; a failure is logged and tried again later. */
void fm_requests_open(struct fm_requests *r);
/* Take no more; what runs ends first. Idempotent. */
void fm_requests_close(struct fm_requests *r);
/* After fm_requests_close: give up results that the hub has not taken. No call runs. */
void fm_requests_abandon(struct fm_requests *r);

#endif
