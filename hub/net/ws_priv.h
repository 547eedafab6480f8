/* The inside of a WebSocket stream, shared by hub/net/ws_stream.c (in) and
 * hub/net/ws_out.c (out). */
#ifndef HUB_WS_PRIV_H
#define HUB_WS_PRIV_H

#include "hub/net/ws_frame.h"
#include "hub/net/ws_stream.h"

enum hub_ws_phase { HUB_WS_HANDSHAKE, HUB_WS_OPEN, HUB_WS_ENDED };

/* What an idle connection does not have. */
struct hub_ws_more {
    const struct hub_ws_rules *rules; /* until the handshake is done */
    struct bt_buf head;               /* the request, as far as it has come */
    struct bt_slice rest;             /* frames that came with it; in head */
    struct bt_buf out;                /* bytes of ours that go before everything else */
    uint8_t in[HUB_WS_MAX_SHORT], pong[HUB_WS_MAX_SHORT];
    uint8_t n_in, n_pong;
    bool pong_due;
};

struct hub_ws {
    struct hub_stream base;
    struct hub_ws_decoder in;
    uint32_t left; /* payload bytes to come of our frame under way */
    uint8_t phase;
    struct hub_ws_more *more;
};

static inline struct hub_ws *hub_ws_of(struct hub_stream *s)
{
    return bt_container_of(s, struct hub_ws, base);
}

/* Make w->more if there is none; NULL when out of memory. */
struct hub_ws_more *hub_ws_need_more(struct hub_ws *w);
/* Free it, if nothing is in it. */
void hub_ws_drop_more(struct hub_ws *w);
void hub_ws_free_more(struct hub_ws *w);
/* Send more->out. 0: all of it is on its way; 1: would block; < 0: the peer is gone. */
int hub_ws_flush_own(struct hub_ws *w) BT_MUST_CHECK;
/* Between two frames: send what is due, a pong or the rest of something. As
 * hub_ws_flush_own. */
int hub_ws_speak(struct hub_ws *w) BT_MUST_CHECK;
/* The last frame, if none is under way; what the socket does not take now is lost. Ends
 * the stream. code HUB_WS_NO_CODE: without one. */
void hub_ws_say_close(struct hub_ws *w, unsigned code, const char *reason);
/* Of struct hub_stream_ops. */
ssize_t hub_ws_write(struct hub_stream *s, const struct iovec *iov, int n);

#endif
