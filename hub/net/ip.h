/* A peer's address in 16 bytes, for log lines and for counting by address. Asked of the
 * kernel when it is needed, so that a connection does not carry it. Any thread. */
#ifndef HUB_IP_H
#define HUB_IP_H

#include "core/base.h"

#define HUB_IP_TEXT 48 /* room for a text */

/* IPv6, or IPv4 mapped into it; all zero: none, as of a Unix socket. */
struct hub_ip {
    uint8_t b[16];
};

/* The peer of a connected socket; all zero when there is none or it is gone. */
struct hub_ip hub_ip_of(int fd);
/* What is counted as one peer: an IPv6 address by its first 64 bits, because one host is
 * given as many. */
struct hub_ip hub_ip_group(struct hub_ip ip);
/* "10.0.0.1", "fe80::1", "local" for none. Returns text. */
const char *hub_ip_text(struct hub_ip ip, char text[HUB_IP_TEXT]);

#endif
