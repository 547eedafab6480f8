/* Where a rule's messages come from and where its results go: one session at a broker.
 * funcmgr/rule/link_hub.c is the hub of this process, funcmgr/rule/link_remote.c a broker
 * elsewhere. All calls and callbacks on the function manager's thread. */
#ifndef FUNCMGR_LINK_H
#define FUNCMGR_LINK_H

#include "core/loop.h"
#include "funcmgr/funcmgr.h"

struct hub;
struct fm_link;

/* One message. The receiver copies the struct and owes exactly one fm_link_ops.ack or
 * .drop for it. */
struct fm_delivery {
    struct bt_slice topic, payload; /* valid until ack or drop, also beyond close */
    uint8_t qos;                    /* as delivered */
    bool dup, retain;
    uint16_t pid; /* 0 at QoS 0; the same when it is delivered again */
    void *priv;   /* the link's */
};

struct fm_publish {
    const char *topic;
    struct bt_slice payload; /* copied */
    uint8_t qos;
    uint64_t token; /* for on_published */
    /* NULL, or what this is the result of: QoS 1 or 2, of this link, not acknowledged
     * yet. A link that can makes its acknowledgement part of the same transaction; the
     * caller acknowledges it after on_published all the same. */
    const struct fm_delivery *input;
};

/* Added to a reason: the link has logged why. */
#define FM_LINK_LOGGED 0x100u
/* on_ready: it worked, and the broker has no session from before: nothing will be
 * delivered again. */
#define FM_LINK_NEW_SESSION 0x01u

struct fm_remote;
struct fm_link_opts {
    struct hub *hub;                /* of this process; NULL when there is none */
    const struct fm_remote *remote; /* funcmgr/rule/link_remote.h; NULL: the hub */
    const struct fm_hub_conf *conf; /* address, login; outlives the link */
    struct bt_loop *loop;
    const char *client_id; /* not empty; copied */
    bool clean;
    uint16_t window;    /* unacknowledged QoS 1 and 2 deliveries, from 1 */
    const char *filter; /* the one subscription; copied */
    uint8_t qos;
    void *arg;
    /* None of these is called from inside open, publish, ack, drop or close. */
    /* Once. reason: 0 (BT_MQTT_SUCCESS), FM_LINK_NEW_SESSION, or why the login or the
     * subscription was refused or the broker cannot be reached; then call close. */
    void (*on_ready)(void *arg, unsigned reason);
    void (*on_message)(void *arg, const struct fm_delivery *d);
    /* What the session had and was not acknowledged has been delivered again. Not every
     * link can tell. */
    void (*on_resent)(void *arg);
    /* The publish with this token is safe (QoS 1, 2: the broker has it), or was refused
     * (reason >= 0x80). */
    void (*on_published)(void *arg, uint64_t token, unsigned reason);
    /* The session at the broker, or the connection to it, is lost: no callback follows.
     * Call close; the rule opens a new link after a pause, and the broker delivers again
     * what was not acknowledged. */
    void (*on_closed)(void *arg, unsigned reason);
};

struct fm_link_ops {
    /* 0: on_ready follows. BT_ENOMEM, BT_EINVAL, ...: there is no link. */
    int (*open)(const struct fm_link_opts *opts, struct fm_link **out);
    /* 0; on_published follows at QoS 1 and 2 only. BT_EINVAL: a topic that the broker
     * does not take; BT_ELIMIT: larger than max_payload; others: not now. */
    int (*publish)(struct fm_link *l, const struct fm_publish *p);
    /* ok: done with. Otherwise it is delivered again when the session is next opened. */
    void (*ack)(struct fm_link *l, const struct fm_delivery *d, bool ok);
    /* Free it without a word to the broker; the link may be closed already. */
    void (*drop)(const struct fm_delivery *d);
    /* Disconnect and free; a persistent session stays. Also from inside a callback. No
     * callback follows. Deliveries that are held are given to drop later. */
    void (*close)(struct fm_link *l);
    /* Largest payload that the broker takes with a topic of this length. */
    size_t (*max_payload)(const struct fm_link *l, size_t topic_len);
    /* Stop taking from the broker, and go on; while stopped on_published is not called
     * either. NULL: the link cannot, and QoS 0 messages beyond the rule's limit are
     * dropped. */
    void (*pause)(struct fm_link *l, bool paused);
};

/* First member of every link. */
struct fm_link {
    const struct fm_link_ops *ops;
};

extern const struct fm_link_ops fm_link_hub_ops;
extern const struct fm_link_ops fm_link_remote_ops;

#endif
