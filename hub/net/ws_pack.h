/* MQTT packets on their way to a WebSocket: one frame around each. No state, no I/O. */
#ifndef HUB_WS_PACK_H
#define HUB_WS_PACK_H

#include <sys/uio.h>

#include "core/base.h"

/* Length of the MQTT packet that iov (not empty) begins with, which may be more than
 * there is; all there is when its length cannot be told. */
size_t hub_ws_packet_len(const struct iovec *iov, int n);
/* Whole packets from the start of iov, each in a frame of its own, as many as fit `room`.
 * Returns the bytes written to out, *taken of iov are in them; 0: the first does not fit
 * or is not whole. */
size_t hub_ws_pack(const struct iovec *iov, int n, uint8_t *out, size_t room,
                   size_t *taken);

#endif
