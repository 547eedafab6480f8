/* Addresses of streams. */
#include "core/stream.h"

#include <string.h>

#include "core/error.h"

static const struct scheme {
    const char *prefix, *port;
    bool tls, local;
} schemes[] = {
    { "tcp://", "1883", false, false },  { "mqtt://", "1883", false, false },
    { "ssl://", "8883", true, false },   { "tls://", "8883", true, false },
    { "mqtts://", "8883", true, false }, { "unix://", "", false, true },
};

static const struct scheme *scheme_of(const char *text)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(schemes); i++) {
        if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
            return &schemes[i];
    }
    return strstr(text, "://") == NULL ? &schemes[0] : NULL;
}

static bool copy(char *out, size_t size, const char *from, size_t len)
{
    if (len == 0 || len >= size)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

/* The number behind the colon; then nothing, or a slash. */
static bool parse_port(const char *rest, const char *fallback, char *out)
{
    size_t n = 0;
    bool ok;

    if (*rest == ':') {
        n = strspn(++rest, "0123456789");
        ok = n <= 5 && copy(out, BT_STREAM_PORT_LEN, rest, n);
    } else {
        ok = copy(out, BT_STREAM_PORT_LEN, fallback, strlen(fallback));
    }
    return ok && strcmp(rest[n] == '/' ? rest + n + 1 : rest + n, "") == 0;
}

int bt_stream_parse(const char *text, struct bt_stream_address *out)
{
    const struct scheme *scheme = scheme_of(text);
    const char *host, *rest;
    bool ok;

    memset(out, 0, sizeof(*out));
    if (scheme == NULL)
        return BT_EINVAL;
    host = strstr(text, "://");
    host = host != NULL ? host + 3 : text;
    out->tls = scheme->tls;
    out->local = scheme->local;
    if (scheme->local) {
        ok = copy(out->host, sizeof(out->host), host, strlen(host));
    } else if (*host == '[') {
        rest = strchr(host, ']');
        ok = rest != NULL &&
             copy(out->host, sizeof(out->host), host + 1, (size_t)(rest - host) - 1) &&
             parse_port(rest + 1, scheme->port, out->port);
    } else {
        rest = host + strcspn(host, ":/");
        ok = copy(out->host, sizeof(out->host), host, (size_t)(rest - host)) &&
             parse_port(rest, scheme->port, out->port);
    }
    return ok ? 0 : BT_EINVAL;
}
