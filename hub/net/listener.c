/* Listening sockets. Accepting is done by worker 0 in batches. A plain connection stays
 * there until its client id is known, then it moves to the worker of its session; one
 * whose handshake is work goes to the workers in turn before that.
 *
 * Failure modes: an address in use names itself and ends the start; out of descriptors
 * stops accepting for a moment instead of spinning; over max_connections the newcomer is
 * closed, counted. */
#include "hub/net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/access/limit.h"
#include "hub/net/conn.h"
#include "hub/net/listen_url.h"
#include "hub/net/tls_stream.h"
#include "hub/net/ws_stream.h"
#include "hub/worker.h"

#define BACKLOG          1024
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS         100u
#define ADDRESS_TEXT     160

struct hub_listener {
    struct hub_listener *next;
    struct hub *hub;
    struct bt_io io;
    struct bt_timer pause;
    struct hub_listen_url url;
    struct hub_listener_opts opts;
    char text[ADDRESS_TEXT]; /* with the real port */
    unsigned port;           /* the real one; 0: a Unix socket */
    uint32_t turn;
    _Atomic uint32_t n_conns;
    int fd;
    bool open;
};

static struct bt_metric m_refused =
    BT_METRIC("baetyl_hub_connections_refused_total", BT_COUNTER,
              "Connections closed at once because of the connection limit.");

static bool is_loopback(const char *address)
{
    struct hub_listen_url url;

    return hub_listen_url_parse(address, &url) == 0 && url.loopback;
}

bool hub_listeners_loopback(const struct hub_conf *conf)
{
    const struct hub_listener_conf *list = conf->listeners.items;

    for (size_t i = 0; i < conf->listen.n; i++)
        if (!is_loopback(conf->listen.items[i]))
            return false;
    for (size_t i = 0; i < conf->listeners.n; i++)
        if (!is_loopback(list[i].address))
            return false;
    return true;
}

/* All of IPv6 is all of IPv4 as well, unless the file has that on its own. */
static bool is_four_too(const struct hub_listener *l, const char *address)
{
    struct hub_listen_url url;

    return hub_listen_url_parse(address, &url) == 0 && url.port == l->url.port &&
           url.port != 0 && strcmp(url.host, "0.0.0.0") == 0;
}

static int six_only(const struct hub_listener *l)
{
    const struct hub_conf *conf = l->hub->conf;
    const struct hub_listener_conf *list = conf->listeners.items;
    bool only = false;

    for (size_t i = 0; i < conf->listen.n; i++)
        only |= is_four_too(l, conf->listen.items[i]);
    for (size_t i = 0; i < conf->listeners.n; i++)
        only |= is_four_too(l, list[i].address);
    return only;
}

/* Where to bind: without a host, IPv6 where the system has it. */
static const struct addrinfo *choose(const struct hub_listener *l,
                                     const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; l->url.host[0] == '\0' && a != NULL;
         a = a->ai_next) {
        int fd = a->ai_family == AF_INET6 ? bt_sys_socket(AF_INET6, SOCK_STREAM) : -1;

        if (fd < 0)
            continue;
        (void)close(fd);
        return a;
    }
    return list;
}

/* *why: the reason when errno is not. */
static int bind_tcp(struct hub_listener *l, const char **why)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    const struct addrinfo *to;
    char port[8];
    int on = 1, six = six_only(l), r;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)l->url.port);
    r = getaddrinfo(l->url.host[0] == '\0' ? NULL : l->url.host, port, &hints, &list);
    if (r != 0) {
        *why = r == EAI_SYSTEM ? NULL : gai_strerror(r);
        return -1;
    }
    to = choose(l, list);
    l->fd = bt_sys_socket(to->ai_family, SOCK_STREAM);
    r = -1;
    if (l->fd >= 0) {
        (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* What is accepted inherits it. */
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (to->ai_family == AF_INET6)
            (void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &six, sizeof(six));
        r = bind(l->fd, to->ai_addr, to->ai_addrlen);
    }
    freeaddrinfo(list);
    return r;
}

static int bind_unix(struct hub_listener *l)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    memcpy(sa.sun_path, l->url.path, strlen(l->url.path) + 1);
    l->fd = bt_sys_socket(AF_UNIX, SOCK_STREAM);
    if (l->fd < 0)
        return -1;
    /* The work folder is locked, so a file that is there was left by a killed process. */
    (void)unlink(sa.sun_path);
    return bind(l->fd, (struct sockaddr *)&sa, sizeof(sa));
}

/* The real one. */
static unsigned port_of(const struct hub_listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) != 0)
        return l->url.port;
    return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                          : ((struct sockaddr_in *)&ss)->sin_port);
}

bool hub_has_listener(const struct hub *hub, unsigned port, const char *path)
{
    for (const struct hub_listener *l = hub->listeners; l != NULL; l = l->next) {
        if (l->url.kind == HUB_LISTEN_UNIX ? port == 0 && strcmp(l->url.path, path) == 0
                                           : port != 0 && l->port == port)
            return true;
    }
    return false;
}

static void describe(struct hub_listener *l)
{
    if (l->url.kind == HUB_LISTEN_UNIX) {
        (void)snprintf(l->text, sizeof(l->text), "unix://%s", l->url.path);
        return;
    }
    l->port = port_of(l);
    (void)snprintf(
        l->text, sizeof(l->text),
        strchr(l->url.host, ':') != NULL ? "%s://[%.120s]:%u" : "%s://%.120s:%u",
        strcmp(l->url.scheme, "mqtt") == 0 ? "tcp" : l->url.scheme, l->url.host, l->port);
}

static enum hub_transport transport_of(const struct hub_listen_url *url)
{
    if (url->kind == HUB_LISTEN_UNIX)
        return HUB_TRANSPORT_UNIX;
    if (url->ws)
        return url->tls ? HUB_TRANSPORT_WSS : HUB_TRANSPORT_WS;
    return url->tls ? HUB_TRANSPORT_TLS : HUB_TRANSPORT_TCP;
}

static void set_options(struct hub_listener *l, const struct hub_listener_conf *conf)
{
    l->opts.ws_rules = (struct hub_ws_rules){ conf->path, &conf->origins };
    l->opts.anonymous = (enum hub_anonymous)conf->anonymous;
    l->opts.max_connections = conf->max_connections;
    l->opts.max_packet = conf->max_packet;
}

static int open_one(struct hub *hub, const char *address,
                    const struct hub_listener_conf *conf)
{
    struct hub_listener *l = bt_calloc(1, sizeof(*l));
    const char *why = NULL;
    int r;

    if (l == NULL)
        return BT_ENOMEM;
    l->hub = hub;
    l->fd = -1;
    l->next = hub->listeners;
    hub->listeners = l;
    if (hub_listen_url_parse(address, &l->url) != 0)
        return BT_ECONF;
    r = l->url.kind == HUB_LISTEN_UNIX ? bind_unix(l) : bind_tcp(l, &why);
    if (r == 0)
        r = listen(l->fd, BACKLOG);
    if (r != 0) {
        bt_log(BT_LOG_ERROR, "HUB-LISTEN", "cannot listen on this address",
               "address=%s error=\"%s\"", address, why != NULL ? why : strerror(errno));
        return BT_EIO;
    }
    l->open = true;
    l->opts.local = l->url.loopback;
    l->opts.ws = l->url.ws;
    l->opts.layered = l->url.ws || l->url.tls;
    l->opts.address = l->text;
    l->opts.n_conns = &l->n_conns;
    l->opts.transport = transport_of(&l->url);
    if (conf != NULL)
        set_options(l, conf);
    describe(l);
    if (l->url.tls)
        hub_tls_stream_register();
    r = l->url.tls
            ? hub_certs_add(hub->certs, conf != NULL ? &conf->cert : &hub->conf->cert,
                            &l->opts.cert)
            : 0;
    if (r == 0)
        bt_log(BT_LOG_INFO, "HUB-LISTEN", "listening", "address=%s", l->text);
    return r;
}

static int write_ports(const struct hub *hub)
{
    char temp[4096];
    FILE *f;
    int n = snprintf(temp, sizeof(temp), "%s.new", hub->conf->ports_file);

    if (n < 0 || (size_t)n >= sizeof(temp))
        return BT_EINVAL;
    f = fopen(temp, "we");
    if (f == NULL)
        return bt_origin(BT_EIO, "cannot write the ports file");
    for (const struct hub_listener *l = hub->listeners; l != NULL; l = l->next)
        (void)fprintf(f, "%s\n", l->text);
    if (fclose(f) != 0 || rename(temp, hub->conf->ports_file) != 0)
        return bt_origin(BT_EIO, "cannot write the ports file");
    return 0;
}

int hub_listeners_open(struct hub *hub)
{
    const struct bt_conf_strings *listen_on = &hub->conf->listen;
    const struct hub_listener_conf *list = hub->conf->listeners.items;

    bt_metric_register(&m_refused);
    hub_ws_stream_register();
    /* The list is built from its end. */
    for (size_t i = hub->conf->listeners.n; i > 0; i--) {
        int r = open_one(hub, list[i - 1].address, &list[i - 1]);

        if (r != 0)
            return r;
    }
    for (size_t i = listen_on->n; i > 0; i--) {
        int r = open_one(hub, listen_on->items[i - 1], NULL);

        if (r != 0)
            return r;
    }
    return hub->conf->ports_file == NULL ? 0 : write_ports(hub);
}

int hub_listener_wrap(const struct hub_listener_opts *o, int fd, struct hub_stream **out)
{
    struct hub_stream *tls = NULL;
    int r = 0;

    *out = NULL;
    if (o->cert != NULL) {
        struct bt_tls_ctx *ctx = hub_cert_context(o->cert);

        r = hub_tls_stream_new(ctx, fd, o->address, &tls);
        bt_tls_ctx_unref(ctx);
    }
    *out = tls;
    if (r == 0 && o->ws)
        r = hub_ws_stream_new(&o->ws_rules, tls, fd, out);
    if (r != 0)
        hub_stream_free(tls);
    return r;
}

/* Count one in; false: there are too many. */
static bool enter(struct hub *hub, struct hub_listener *l)
{
    struct hub_worker *w = hub->workers[0];
    uint32_t max = w->conf->max_connections, limit = l->opts.max_connections, hidden;

    if (atomic_fetch_add(&hub->n_conns, 1) >= max) {
        atomic_fetch_sub(&hub->n_conns, 1);
        limit = max;
    } else if (atomic_fetch_add(&l->n_conns, 1) >= limit && limit != 0) {
        hub_listener_leave(hub, &l->opts);
    } else {
        return true;
    }
    bt_metric_add(&m_refused, 1);
    if (hub_quiet(&w->quiet[HUB_QUIET_ACCEPT], bt_loop_ms(w->loop), &hidden))
        bt_log(BT_LOG_WARN, "HUB-CONNLIMIT", "too many connections, one refused",
               "limit=%u listener=%s more=%u", limit, l->text, hidden);
    return false;
}

void hub_listener_leave(struct hub *hub, const struct hub_listener_opts *o)
{
    atomic_fetch_sub(&hub->n_conns, 1);
    atomic_fetch_sub(o->n_conns, 1);
}

/* Rates of new connections. False: it is not wanted; *over: it is told so after its
 * CONNECT, as long as that costs little. */
static bool in_time(struct hub_listener *l, int fd, bool *over)
{
    struct hub *hub = l->hub;
    struct hub_worker *w = hub->workers[0];
    uint64_t now = bt_loop_ms(w->loop);
    uint32_t rate = w->conf->connect_rate, by_address = w->conf->connect_address_rate;
    enum hub_limit what = HUB_LIMIT_CONNECT_RATE;

    *over = false;
    if (rate != 0 &&
        hub_bucket_left(&hub->connects, rate, (uint64_t)rate * 2, now) <= 0) {
        *over = true;
    } else if (by_address != 0 &&
               !hub_throttle_connect(hub->throttle, hub_ip_of(fd), by_address, now)) {
        *over = true;
        what = HUB_LIMIT_ADDRESS_RATE;
    }
    if (!*over) {
        hub_bucket_use(&hub->connects, 1);
        return true;
    }
    hub_limited_at_door(w, fd, what);
    return !l->opts.layered && w->n_fresh < w->conf->connect_pending / 2;
}

static void pass_on(struct hub_listener *l, int fd)
{
    bool over;

    struct hub *hub = l->hub;
    uint32_t turn = l->opts.layered ? l->turn++ % hub->n_workers : 0;
    struct hub_worker *to = hub->workers[turn];
    struct hub_accepted *a;

    if (!in_time(l, fd, &over) || !enter(hub, l)) {
        (void)close(fd);
        return;
    }
    if (to == hub->workers[0]) {
        hub_conn_accept(to, fd, &l->opts, over);
        return;
    }
    a = bt_calloc(1, sizeof(*a));
    if (a != NULL) {
        a->msg.kind = HUB_W_ACCEPT;
        a->fd = fd;
        a->opts = &l->opts;
    }
    if (a == NULL || bt_mbox_post(to->mbox, &a->msg) != 0) {
        bt_free(a);
        (void)close(fd);
        hub_listener_leave(hub, &l->opts);
    }
}

static void on_pause_over(struct bt_timer *t)
{
    struct hub_listener *l = bt_container_of(t, struct hub_listener, pause);

    bt_io_set(l->hub->workers[0]->loop, &l->io, BT_READ);
}

static void on_acceptable(struct bt_io *io, unsigned events)
{
    struct hub_listener *l = bt_container_of(io, struct hub_listener, io);
    struct bt_loop *loop = l->hub->workers[0]->loop;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = bt_sys_accept(l->fd, NULL, NULL);

        if (fd >= 0) {
            pass_on(l, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            bt_log(BT_LOG_ERROR, "HUB-ACCEPT", "cannot accept a connection",
                   "error=\"%s\"", strerror(errno));
            bt_io_set(loop, &l->io, 0);
            bt_timer_start(loop, &l->pause, PAUSE_MS, 0);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

void hub_listeners_start(struct hub *hub)
{
    for (struct hub_listener *l = hub->listeners; l != NULL; l = l->next) {
        bt_timer_init(&l->pause, on_pause_over);
        bt_io_init(&l->io, l->fd, on_acceptable);
        bt_io_start(hub->workers[0]->loop, &l->io, BT_READ);
    }
}

void hub_listeners_close(struct hub *hub)
{
    for (struct hub_listener *l = hub->listeners; l != NULL; l = l->next) {
        if (!l->open)
            continue;
        l->open = false;
        bt_io_stop(hub->workers[0]->loop, &l->io);
        bt_timer_stop(hub->workers[0]->loop, &l->pause);
        if (l->url.kind == HUB_LISTEN_UNIX)
            (void)unlink(l->url.path);
        (void)close(l->fd);
        l->fd = -1;
    }
}

void hub_listeners_free(struct hub *hub)
{
    while (hub->listeners != NULL) {
        struct hub_listener *l = hub->listeners;

        hub->listeners = l->next;
        if (l->fd >= 0)
            (void)close(l->fd);
        bt_free(l);
    }
}
