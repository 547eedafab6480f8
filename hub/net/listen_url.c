/* Listen addresses. The scheme decides by a table; the rest is taken apart by hand,
 * because only a few forms are legal and everything else is a mistake that the person
 * should hear about. Names are not resolved here: only literal addresses and "localhost"
 * count as loopback. */
#include "hub/net/listen_url.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static int parse_tcp(const char *rest, struct hub_listen_url *out);
static int parse_unix(const char *rest, struct hub_listen_url *out);

static const struct scheme {
    const char *name;
    int (*parse)(const char *rest, struct hub_listen_url *out);
    uint16_t port;
    bool ws, tls;
} schemes[] = {
    { "tcp", parse_tcp, HUB_LISTEN_TCP_PORT, false, false },
    { "mqtt", parse_tcp, HUB_LISTEN_TCP_PORT, false, false },
    { "unix", parse_unix, 0, false, false },
    { "ssl", parse_tcp, HUB_LISTEN_TLS_PORT, false, true },
    { "tls", parse_tcp, HUB_LISTEN_TLS_PORT, false, true },
    { "mqtts", parse_tcp, HUB_LISTEN_TLS_PORT, false, true },
    { "ws", parse_tcp, HUB_LISTEN_WS_PORT, true, false },
    { "wss", parse_tcp, HUB_LISTEN_WSS_PORT, true, true },
};

static const struct scheme *find_scheme(const char *text, size_t n)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(schemes); i++)
        if (strlen(schemes[i].name) == n && strncasecmp(schemes[i].name, text, n) == 0)
            return &schemes[i];
    return NULL;
}

int hub_listen_url_parse(const char *text, struct hub_listen_url *out)
{
    const char *sep = strstr(text, "://");
    const struct scheme *s;

    *out = (struct hub_listen_url){ .kind = HUB_LISTEN_TCP, .scheme = "" };
    if (sep == NULL)
        return HUB_LISTEN_SYNTAX;
    s = find_scheme(text, (size_t)(sep - text));
    if (s == NULL)
        return HUB_LISTEN_SCHEME;
    out->scheme = s->name;
    out->port = s->port;
    out->ws = s->ws;
    out->tls = s->tls;
    return s->parse(sep + 3, out);
}

static int parse_unix(const char *rest, struct hub_listen_url *out)
{
    size_t n = strlen(rest);

    if (rest[0] != '/' || n < 2 || n >= sizeof(out->path))
        return HUB_LISTEN_PATH;
    memcpy(out->path, rest, n + 1);
    out->kind = HUB_LISTEN_UNIX;
    out->loopback = true;
    return 0;
}

/* What may stand behind host and port. */
static bool is_end(const char *s, bool ws)
{
    return s[0] == '\0' || strcmp(s, "/") == 0 || (ws && s[0] == '/');
}

static int parse_port(const char *s, bool ws, uint16_t *out)
{
    uint32_t port = 0;
    size_t n = strspn(s, "0123456789");

    if (n == 0 || n > 5 || !is_end(s + n, ws))
        return HUB_LISTEN_PORT;
    for (size_t i = 0; i < n; i++)
        port = port * 10 + (uint32_t)(s[i] - '0');
    if (port > UINT16_MAX)
        return HUB_LISTEN_PORT;
    *out = (uint16_t)port;
    return 0;
}

static bool is_loopback(const char *host)
{
    struct in6_addr six;
    struct in_addr four;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&six) ||
           (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

static const char name_chars[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
static const char six_chars[] = "0123456789abcdefABCDEF:.";

static int parse_tcp(const char *rest, struct hub_listen_url *out)
{
    bool six = rest[0] == '[';
    const char *host = six ? rest + 1 : rest, *end;
    size_t n = strspn(host, six ? six_chars : name_chars);
    struct in6_addr addr;

    if (n >= sizeof(out->host))
        return HUB_LISTEN_SYNTAX;
    memcpy(out->host, host, n);
    out->host[n] = '\0';
    end = host + n;
    if (six && (*end++ != ']' || inet_pton(AF_INET6, out->host, &addr) != 1))
        return HUB_LISTEN_SYNTAX;
    out->loopback = is_loopback(out->host);
    if (*end == ':')
        return parse_port(end + 1, out->ws, &out->port);
    return n > 0 && is_end(end, out->ws) ? 0 : HUB_LISTEN_SYNTAX;
}
