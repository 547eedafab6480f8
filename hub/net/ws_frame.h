/* Frames of the WebSocket protocol (RFC 6455 section 5), as a server reads and writes
 * them. No allocation, no I/O; one owner per decoder. */
#ifndef HUB_WS_FRAME_H
#define HUB_WS_FRAME_H

#include "core/base.h"

enum hub_ws_op {
    HUB_WS_MORE_OF = 0, /* continuation */
    HUB_WS_TEXT = 1,
    HUB_WS_BINARY = 2,
    HUB_WS_CLOSE = 8,
    HUB_WS_PING = 9,
    HUB_WS_PONG = 10,
};

/* Close codes (section 7.4.1). */
#define HUB_WS_NORMAL     1000u
#define HUB_WS_GOING_AWAY 1001u
#define HUB_WS_PROTOCOL   1002u
#define HUB_WS_WRONG_TYPE 1003u
#define HUB_WS_NO_CODE    1005u /* never sent: a close frame without a code came */
#define HUB_WS_BAD_DATA   1007u
#define HUB_WS_POLICY     1008u
#define HUB_WS_TOO_LARGE  1009u
#define HUB_WS_INTERNAL   1011u
#define HUB_WS_TRY_LATER  1013u

#define HUB_WS_MAX_HEAD   10u  /* of a frame to a client */
#define HUB_WS_MAX_SHORT  125u /* payload of a control frame */
/* Payload of one frame from a client: it is passed on as it comes, so the length costs
 * nothing, but beyond the largest MQTT packet nobody means it. */
#define HUB_WS_MAX_FRAME 268435460u

struct hub_ws_decoder {
    uint32_t left;    /* payload bytes of the frame that are still to come */
    uint8_t mask[4];  /* turned, so that mask[0] is for the next byte */
    uint8_t head[14]; /* of a frame whose head is not whole */
    uint8_t n_head;
    uint8_t op;   /* of the frame that is being read */
    bool payload; /* its head is whole */
    bool final;   /* it ends its message */
    bool message; /* a fragmented message is under way */
};

/* A part of the input: at most one frame's head and as much of its payload as there is.
 */
struct hub_ws_part {
    size_t used;            /* bytes of input, head included */
    const uint8_t *payload; /* in the input, still masked */
    size_t len;
    uint8_t mask[4]; /* for payload[0] */
    bool control;    /* op: HUB_WS_CLOSE, _PING, _PONG; else MQTT bytes */
    uint8_t op;
    bool end; /* the frame ends here; a control frame may end with len 0 */
};

/* The next part of the n (> 0) bytes at p. 0, or the code to close with: a rule of
 * section 5 is broken, or the data is text, or the frame is too large. */
unsigned hub_ws_decode(struct hub_ws_decoder *d, const uint8_t *p, size_t n,
                       struct hub_ws_part *out) BT_MUST_CHECK;

/* to[i] = from[i] ^ mask[i % 4]. The ranges may overlap when to <= from. */
void hub_ws_unmask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t mask[4]);

/* The head of a final, unmasked frame of len bytes; returns its length. */
size_t hub_ws_encode_head(uint8_t out[HUB_WS_MAX_HEAD], enum hub_ws_op op, uint64_t len);
/* The payload of a close frame; the reason is cut to what fits. Returns its length. */
size_t hub_ws_encode_close(uint8_t out[HUB_WS_MAX_SHORT], unsigned code,
                           const char *reason);
/* The code of a close frame's payload, HUB_WS_NO_CODE when there is none. Returns 0, or
 * the code to close with: the payload breaks section 5.5.1 or 7.4. */
unsigned hub_ws_decode_close(const uint8_t *p, size_t n, unsigned *code) BT_MUST_CHECK;

#endif
