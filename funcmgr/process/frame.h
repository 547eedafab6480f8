/* Frames: what the function manager and a runtime say to each other, see docs/frames.md.
 * A frame is a byte 0, the length as four bytes (big-endian) and one protobuf message.
 * No state is shared; any thread. Slices borrow: of the input when decoded, of the
 * caller's memory when encoded. */
#ifndef FUNCMGR_FRAME_H
#define FUNCMGR_FRAME_H

#include "core/buf.h"

#define FM_FRAME_VERSION 1u
#define FM_FRAME_PREFIX  5u
/* A buffer that grew beyond this for one message is given back afterwards. */
#define FM_FRAME_KEEP ((size_t)256 * 1024)
/* The first frames, before a limit is agreed on. */
#define FM_FRAME_MAX_HELLO ((size_t)64 * 1024)

enum fm_frame_kind { FM_HELLO, FM_CALL, FM_REPLY, FM_LOG };

struct fm_hello {
    uint32_t version;
    uint64_t max_message;                       /* from the manager */
    struct bt_slice function, handler, codedir; /* from the manager */
    struct bt_slice runtime;                    /* from the runtime: "python 3.11.2" */
    struct bt_slice error; /* from the runtime: why it cannot serve; empty = ready */
    uint32_t concurrency;  /* from the manager: calls that may run at once, 1 or more */
    bool forks;            /* from the manager: be a template, see forkserver.h */
    struct bt_slice cannot_fork; /* from the runtime: why it cannot be one */
};
/* The call record of the original, field by field. */
struct fm_message {
    uint64_t id;  /* packet id, 0 at QoS 0 */
    uint32_t qos; /* as delivered */
    struct bt_slice topic, payload;
    int64_t timestamp; /* seconds since 1970 */
    struct bt_slice function, invoke_id;
};
struct fm_call_frame {
    uint64_t id; /* of the call, answered by the reply with the same id */
    struct fm_message message;
};
struct fm_reply {
    uint64_t id;
    struct bt_slice payload;
    bool failed;
    struct bt_slice error_message, error_type; /* when failed */
};
struct fm_log_frame {
    uint32_t level; /* 0 error .. 3 debug */
    struct bt_slice text;
};

struct fm_frame {
    enum fm_frame_kind kind;
    union {
        struct fm_hello hello;
        struct fm_call_frame call;
        struct fm_reply reply;
        struct fm_log_frame log;
    };
};

/* Append a frame to out. BT_ELIMIT when the message is longer than max (out is as
 * before), BT_ENOMEM. *len, when not NULL, is the length of the message in the first two
 * cases. */
int fm_frame_encode(const struct fm_frame *frame, size_t max, struct bt_buf *out,
                    size_t *len) BT_MUST_CHECK;
/* One message without its prefix. BT_EINVAL when it is not a valid frame; nothing is
 * logged. */
int fm_frame_decode(const uint8_t *data, size_t len, struct fm_frame *out) BT_MUST_CHECK;

/* A decoder for a stream of frames. Zero-initialise, then set max. */
struct fm_frame_in {
    struct bt_buf buf;
    size_t off;      /* bytes of buf that were handed out */
    size_t max;      /* longest message; may be changed between frames */
    size_t oversize; /* length of the message that was too long, after BT_ELIMIT */
};

#define FM_FRAME_MORE 1 /* no whole frame yet */

void fm_frame_in_deinit(struct fm_frame_in *in);
/* Append bytes from the other side. 0, BT_ENOMEM or BT_ELIMIT. */
int fm_frame_in_feed(struct fm_frame_in *in, const void *data, size_t len) BT_MUST_CHECK;
/* The next frame; valid until the next call with the same decoder. 0, FM_FRAME_MORE,
 * BT_ELIMIT (longer than max: seen as soon as its prefix is there) or BT_EINVAL; the
 * stream is lost then. */
int fm_frame_in_next(struct fm_frame_in *in, struct fm_frame *out) BT_MUST_CHECK;

#endif
