/* The bytes below the command line's MQTT client: a socket, plain or with TLS around it.
 * One thread. Only core/mqtt_client.c uses it. */
#ifndef CORE_MQTT_LINK_H
#define CORE_MQTT_LINK_H

#include "core/mqtt_client.h"

/* Puts a sentence in c->error and returns code. */
int bt_client_fail(struct bt_client *c, int code, const char *fmt, ...) BT_PRINTF(3, 4);
/* The connection ended. error: errno, 0 = the broker closed it. */
int bt_client_lost(struct bt_client *c, int error);
bool bt_client_stopped(const struct bt_client *c);
/* Wait for events on fd, half a second at most and no longer than to `until`. Whether
 * there are some. */
bool bt_client_wait(int fd, short events, uint64_t until);

/* Open the socket and, where the address wants it, do the TLS handshake. 0,
 * BT_CLIENT_STOPPED or a fatal code. */
int bt_link_open(struct bt_client *c) BT_MUST_CHECK;
/* Something of c->out waits to be sent. */
bool bt_link_unsent(const struct bt_client *c);
/* One attempt to send it. > 0: some was taken; 0: would block; < 0 as above. */
int bt_link_send(struct bt_client *c) BT_MUST_CHECK;
/* Append what has come to c->in; nothing when there is nothing. 0 or a fatal code. */
int bt_link_receive(struct bt_client *c) BT_MUST_CHECK;
/* Say goodbye and close; may run twice. */
void bt_link_close(struct bt_client *c);

#endif
