/* Opens the socket of the command line's MQTT client. One thread. */
#ifndef CORE_MQTT_CONNECT_H
#define CORE_MQTT_CONNECT_H

#include "core/mqtt_client.h"

#define BT_CLIENT_HOST_LEN 256
/* Take tcp://HOST[:PORT] (also mqtt://; with TLS ssl://, tls://, mqtts://) apart; port is
 * "1883", with TLS "8883", when there is none. False when it is not of that form or too
 * long. */
bool bt_client_split_tcp(const char *address, char host[BT_CLIENT_HOST_LEN],
                         char port[8]);
/* A connected, non-blocking socket in *out (owned by the caller). 0, BT_EINVAL, BT_EIO or
 * BT_ETIMEOUT with a sentence in error. */
int bt_client_open_socket(const char *address, uint32_t timeout_ms, int *out,
                          char error[BT_CLIENT_ERROR_LEN]) BT_MUST_CHECK;

bool bt_client_is_tls(const char *address);

#endif
