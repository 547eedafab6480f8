/* Addresses of peers. Nothing fails: a peer that cannot be asked any more has none. */
#include "hub/net/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool is_v4(const struct hub_ip *ip)
{
    return memcmp(ip->b, mapped, sizeof(mapped)) == 0;
}

struct hub_ip hub_ip_of(int fd)
{
    struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof(ss);
    struct hub_ip ip = { .b = { 0 } };

    if (getpeername(fd, (struct sockaddr *)&ss, &len) != 0)
        return ip;
    if (ss.ss_family == AF_INET) {
        memcpy(ip.b, mapped, sizeof(mapped));
        memcpy(ip.b + 12, &((const struct sockaddr_in *)(const void *)&ss)->sin_addr, 4);
    } else if (ss.ss_family == AF_INET6) {
        memcpy(ip.b, &((const struct sockaddr_in6 *)(const void *)&ss)->sin6_addr, 16);
    }
    return ip;
}

struct hub_ip hub_ip_group(struct hub_ip ip)
{
    if (!is_v4(&ip))
        memset(ip.b + 8, 0, 8);
    return ip;
}

const char *hub_ip_text(struct hub_ip ip, char text[HUB_IP_TEXT])
{
    static const struct hub_ip none;
    const char *done;

    if (memcmp(&ip, &none, sizeof(ip)) == 0)
        done = NULL;
    else if (is_v4(&ip))
        done = inet_ntop(AF_INET, ip.b + 12, text, HUB_IP_TEXT);
    else
        done = inet_ntop(AF_INET6, ip.b, text, HUB_IP_TEXT);
    if (done == NULL)
        (void)snprintf(text, HUB_IP_TEXT, "local");
    return text;
}
