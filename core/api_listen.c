/* Where a server listens: the control socket's file, TCP addresses. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/api_priv.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

/* ---- Addresses ---- */

static bool take_port(const char *s, uint16_t *out)
{
    unsigned long n = 0;
    size_t len = strlen(s);

    if (len == 0 || len > 5)
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (unsigned long)(*s - '0');
    if (*s != '\0' || n > 65535)
        return false;
    *out = (uint16_t)n;
    return true;
}

static bool is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

bool bt_api_url(const char *text, struct bt_api_url *out)
{
    static const struct {
        const char *scheme;
        bool tls;
    } schemes[] = { { "tcp://", false },
                    { "http://", false },
                    { "ssl://", true },
                    { "tls://", true },
                    { "https://", true } };
    const char *end;
    size_t i = 0, n;

    while (i < BT_ARRAY_LEN(schemes) &&
           strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
        i++;
    if (i == BT_ARRAY_LEN(schemes))
        return false;
    *out = (struct bt_api_url){ .tls = schemes[i].tls };
    text += strlen(schemes[i].scheme);
    end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
    if (end == NULL)
        return false;
    n = (size_t)(end - text);
    if (text[0] == '[') {
        text++;
        n--;
        end++;
    }
    if (n >= sizeof(out->host) || *end != ':' || !take_port(end + 1, &out->port))
        return false;
    memcpy(out->host, text, n);
    if (strpbrk(out->host, "/@[]") != NULL || (end[-1] != ']' && strchr(out->host, ':')))
        return false;
    out->loopback = is_loopback(out->host);
    return true;
}

/* ---- Sockets ---- */

static void on_acceptable(struct bt_io *io, unsigned events)
{
    struct api_listener *l = bt_container_of(io, struct api_listener, io);
    int fd;

    (void)events;
    for (int i = 0;
         i < API_BACKLOG && (fd = bt_sys_accept(bt_io_fd(io), NULL, NULL)) >= 0; i++)
        api_conn_new(l->api, fd, l->tls);
}

/* Takes fd, which is bound; listens but does not accept yet. */
static int add_listener(struct bt_api *api, int fd, struct bt_tls_ctx *tls)
{
    struct api_listener *l = bt_calloc(1, sizeof(*l));

    if (l == NULL || listen(fd, API_BACKLOG) != 0) {
        bt_free(l);
        (void)close(fd);
        return l == NULL ? BT_ENOMEM : BT_EIO;
    }
    l->api = api;
    l->tls = tls != NULL ? bt_tls_ctx_ref(tls) : NULL;
    bt_io_init(&l->io, fd, on_acceptable);
    bt_io_start(api->loop, &l->io, 0);
    bt_list_push_back(&api->listeners, &l->link);
    return 0;
}

static void make_folders(char *path)
{
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(path, 0755); /* what is in the way shows at bind */
        *at = '/';
    }
}

int bt_api_listen_unix(struct bt_api *api, const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd, r = BT_EIO;

    _Static_assert(sizeof(sa.sun_path) <= sizeof(api->path), "a path fits");
    if (strlen(path) >= sizeof(sa.sun_path)) {
        bt_log(BT_LOG_WARN, "CORE-API", "the control socket's path is too long",
               "path=" BT_LOG_Q, path);
        return BT_ELIMIT;
    }
    memcpy(api->path, path, strlen(path) + 1);
    make_folders(api->path);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    fd = bt_sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0) {
        api->path[0] = '\0';
        return bt_origin(BT_EIO, "no control socket");
    }
    (void)unlink(path);
    /* Nobody can connect before listen, so the mode is in place in time. */
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && chmod(path, 0660) == 0)
        r = add_listener(api, fd, NULL);
    else
        (void)close(fd);
    if (r == 0)
        return 0;
    bt_log(BT_LOG_WARN, "CORE-API", "no control socket",
           "path=" BT_LOG_Q " error=" BT_LOG_Q, path, strerror(errno));
    api->path[0] = '\0';
    return r;
}

/* A bound socket, or -1 with errno; *why: the reason when errno is not. */
static int bind_tcp(const struct bt_api_url *url, const char **why)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *to = NULL;
    char port[8];
    int on = 1, fd, r;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)url->port);
    r = getaddrinfo(url->host[0] == '\0' ? NULL : url->host, port, &hints, &to);
    if (r != 0) {
        *why = r == EAI_SYSTEM ? NULL : gai_strerror(r);
        return -1;
    }
    fd = bt_sys_socket(to->ai_family, SOCK_STREAM);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* What is accepted inherits it. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        r = bind(fd, to->ai_addr, to->ai_addrlen);
    }
    freeaddrinfo(to);
    if (fd >= 0 && r != 0) {
        int saved = errno;

        (void)close(fd);
        errno = saved;
        fd = -1;
    }
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage ss = { 0 };
    const struct sockaddr_in *four = (const void *)&ss;
    const struct sockaddr_in6 *six = (const void *)&ss;
    socklen_t len = sizeof(ss);

    (void)getsockname(fd, (struct sockaddr *)&ss, &len);
    return ntohs(ss.ss_family == AF_INET6 ? six->sin6_port : four->sin_port);
}

int bt_api_listen_tcp(struct bt_api *api, const char *address, struct bt_tls_ctx *tls)
{
    struct bt_api_url url;
    const char *why = NULL;
    unsigned port;
    int fd, r;

    if (!bt_api_url(address, &url) || (url.tls && tls == NULL))
        return BT_EINVAL;
    fd = bind_tcp(&url, &why);
    if (fd >= 0) {
        port = port_of(fd);
        r = add_listener(api, fd, url.tls ? tls : NULL);
        if (r == 0) {
            bt_log(BT_LOG_INFO, "CORE-HTTP", "listening for HTTP",
                   strchr(url.host, ':') != NULL ? "address=%s://[%s]:%u"
                                                 : "address=%s://%s:%u",
                   url.tls ? "https" : "http", url.host, port);
            return 0;
        }
    }
    bt_log(BT_LOG_ERROR, "CORE-HTTP", "cannot listen for HTTP on this address",
           "address=" BT_LOG_Q " error=" BT_LOG_Q, address,
           why != NULL ? why : strerror(errno));
    return BT_EIO;
}

void bt_api_open(struct bt_api *api)
{
    struct bt_list *it;

    if (api == NULL)
        return;
    bt_list_for_each (it, &api->listeners)
        bt_io_set(api->loop, &bt_list_entry(it, struct api_listener, link)->io, BT_READ);
}

void bt_api_set_tls(struct bt_api *api, struct bt_tls_ctx *tls)
{
    struct bt_list *it;

    bt_list_for_each (it, &api->listeners) {
        struct api_listener *l = bt_list_entry(it, struct api_listener, link);

        if (l->tls == NULL)
            continue;
        bt_tls_ctx_unref(l->tls);
        l->tls = bt_tls_ctx_ref(tls);
    }
}
