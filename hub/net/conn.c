/* Connections: reading, framing, closing.
 *
 * Happy path: one recv into the worker's scratch buffer, every whole packet in it is
 * handled in place, the rest is kept in c->in. A packet larger than the scratch buffer is
 * gathered in c->in. Failure modes: a wrong length, a packet over the limit, a silent or
 * a gone peer close this connection only; closing is marked at once and the memory is
 * freed at the end of the turn. */
#include "hub/net/conn.h"

#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/access/limit.h"
#include "hub/access/login.h"
#include "hub/net/listener.h"
#include "hub/observe/recorder.h"
#include "hub/worker.h"

static struct hub *hub_of(const struct hub_conn *c)
{
    return c->worker->hub;
}

static void on_io(struct bt_io *io, unsigned events);

void hub_conn_touch(struct hub_conn *c)
{
    if (!bt_list_linked(&c->dirty) && !c->blocked && !c->closed)
        bt_list_push_back(&c->worker->dirty, &c->dirty);
}

bool hub_conn_fits(const struct hub_conn *c, size_t n)
{
    return c->v5 == NULL || c->v5->max_packet == 0 || n <= c->v5->max_packet;
}

void hub_conn_send(struct hub_conn *c, struct bt_buf *b)
{
    if (bt_unlikely(!hub_conn_fits(c, b->len))) {
        b->len = 0;
        hub_conn_close(c, BT_MQTT_TOO_LARGE, true);
        return;
    }
    hub_count_out(&c->worker->counts, b->data[0] >> 4);
    if (!c->closed && hub_outq_bytes(&c->out, b->data, b->len) != 0)
        hub_conn_close(c, BT_MQTT_UNSPECIFIED, true);
    hub_conn_touch(c);
    b->len = 0;
}

/* It never said who it is. */
static void refused_before_login(struct hub_conn *c, uint8_t reason)
{
    hub_refused_login(c->worker, (struct bt_slice){ NULL, 0 }, reason);
}

/* ---- Input ---- */

/* The client gave a sign of life. */
static void alive(struct hub_conn *c)
{
    if (c->keepalive_ms != 0)
        c->deadline_ms = bt_loop_ms(c->worker->loop) + c->keepalive_ms;
}

static uint64_t largest(const struct hub_conn *c)
{
    return bt_likely(c->guard == NULL)
               ? hub_listener_max_packet(c->listener, c->worker->conf)
               : hub_meter_max_packet(c);
}

/* Handle the whole packets at p; *out is how many bytes were used. Stops when closed or
 * paused. false: the connection belongs to another worker now and must not be touched. */
static bool feed(struct hub_conn *c, const uint8_t *p, size_t n, size_t *out)
{
    size_t used = 0;

    while (used < n && !c->closed && !c->paused) {
        size_t len = 0;
        int r = bt_mqtt_frame(p + used, n - used, &len);

        if (r == BT_MQTT_MORE)
            break;
        if (r == 0 && len > largest(c)) {
            r = BT_MQTT_TOO_LARGE;
            hub_limited(c, HUB_LIMIT_PACKET);
        }
        if (r == 0 && len > n - used)
            break;
        if (r == 0 && c->version == 0)
            r = hub_connect(c, p + used, len,
                            (struct bt_slice){ p + used + len, n - used - len });
        else if (r == 0)
            r = hub_packet(c, p + used, len);
        if (r == HUB_CONN_MOVED)
            return false;
        if (bt_unlikely(r > 0 && c->version == 0))
            refused_before_login(c, (uint8_t)r);
        if (r == HUB_CONN_WAITS)
            break;
        if (bt_unlikely(c->guard != NULL) && r == 0)
            hub_meter_packet(c, p[used], len);
        if (r != 0)
            hub_conn_close(c, (uint8_t)(r < 0 ? BT_MQTT_UNSPECIFIED : r), true);
        used += len;
    }
    if (used > 0)
        c->in_ticks = 0;
    /* Whole packets count, not bytes ([MQTT-3.1.2-22]). */
    if (used > 0 && !c->closed)
        alive(c);
    *out = used;
    return true;
}

static void keep(struct hub_conn *c, const uint8_t *p, size_t n)
{
    if (n == 0)
        return;
    if (bt_buf_append(&c->in, p, n) != 0)
        hub_conn_close(c, BT_MQTT_TOO_LARGE, true);
    else
        hub_worker_need_tick(c->worker);
}

/* Handle what is gathered in c->in (a moved connection, a large packet, after a pause).
 * Returns as feed. */
static bool feed_kept(struct hub_conn *c)
{
    struct bt_buf in = c->in;
    size_t used = 0;
    bool ours;

    c->in = (struct bt_buf){ .max = in.max };
    ours = feed(c, in.data, in.len, &used);
    if (ours && !c->closed)
        keep(c, in.data + used, in.len - used);
    bt_buf_deinit(&in);
    return ours;
}

static ssize_t receive(struct hub_conn *c, uint8_t *to, size_t room)
{
    ssize_t n = hub_stream_read(c->stream, bt_io_fd(&c->io), to, room);

    if (n > 0)
        c->worker->counts.bytes_in += (uint64_t)n;
    else if (n < 0)
        hub_conn_close(c, BT_MQTT_SUCCESS, true);
    return n;
}

/* What is gathered of one packet, and what came with it. */
static size_t most_input(const struct hub_conn *c)
{
    return (size_t)hub_listener_max_packet(c->listener, c->worker->conf) + HUB_SCRATCH;
}

/* A packet that does not fit the scratch buffer. Returns as feed. */
static bool read_large(struct hub_conn *c)
{
    size_t room = BT_MIN((size_t)HUB_SCRATCH, c->in.max + 5 - c->in.len);
    ssize_t n;

    c->in.max = most_input(c);
    if (bt_buf_reserve(&c->in, room) != 0) {
        hub_conn_close(c, BT_MQTT_QUOTA, true);
        return true;
    }
    n = receive(c, c->in.data + c->in.len, room);
    if (n > 0) {
        size_t len = 0;

        c->in.len += (size_t)n;
        if (bt_mqtt_frame(c->in.data, c->in.len, &len) != 0 || len <= c->in.len)
            return feed_kept(c);
    }
    return true;
}

/* One read. Returns as feed. */
static bool read_some(struct hub_conn *c)
{
    struct hub_worker *w = c->worker;
    size_t kept = c->in.len, used = 0;
    ssize_t n;

    if (kept > HUB_SCRATCH / 2)
        return read_large(c);
    n = receive(c, w->scratch + kept, HUB_SCRATCH - kept);
    if (n <= 0)
        return true;
    if (kept > 0)
        memcpy(w->scratch, c->in.data, kept);
    bt_buf_deinit(&c->in);
    c->in = (struct bt_buf){ .max = most_input(c) };
    if (!feed(c, w->scratch, kept + (size_t)n, &used))
        return false;
    if (!c->closed)
        keep(c, w->scratch + used, kept + (size_t)n - used);
    return true;
}

static void watch(struct hub_conn *c)
{
    bool write = c->blocked || (hub_stream_wants(c->stream) & BT_WRITE) != 0;

    bt_io_set(c->worker->loop, &c->io,
              (c->paused ? 0 : BT_READ) | (write ? BT_WRITE : 0));
}

/* What a layer holds decoded is announced by nobody, so it is taken at once. */
static void read_pending(struct hub_conn *c)
{
    while (!c->closed && !c->paused && hub_stream_pending(c->stream))
        if (!read_some(c))
            return;
    if (!c->closed && c->stream != NULL)
        watch(c);
}

static void on_io(struct bt_io *io, unsigned events)
{
    struct hub_conn *c = bt_container_of(io, struct hub_conn, io);

    if ((events & BT_WRITE) != 0 && !c->closed) {
        c->blocked = false;
        hub_conn_flush(c);
    }
    if ((events & BT_READ) != 0 && !c->closed && !c->paused && read_some(c) &&
        c->stream != NULL)
        read_pending(c);
}

void hub_conn_pause(struct hub_conn *c, uint8_t why)
{
    c->paused |= why;
    watch(c);
}

void hub_conn_unpause(struct hub_conn *c, uint8_t why)
{
    if ((c->paused & why) == 0 || c->closed)
        return;
    c->paused &= (uint8_t)~why;
    if (c->paused != 0)
        return;
    alive(c); /* what it sent meanwhile was not read */
    watch(c);
    if (c->in.len > 0 && !feed_kept(c))
        return;
    read_pending(c);
}

struct hub_ip hub_conn_ip(const struct hub_conn *c)
{
    return hub_ip_of(bt_io_fd(&c->io));
}

/* ---- Coming and moving ---- */

/* Floods of connections that say nothing push out themselves, not those that do. */
static void make_room(struct hub_worker *w)
{
    struct hub_conn *oldest;

    if (w->n_fresh <= w->conf->connect_pending)
        return;
    oldest = bt_list_entry(bt_list_first(&w->fresh), struct hub_conn, all);
    hub_limited(oldest, HUB_LIMIT_HALF_OPEN);
    hub_conn_close(oldest, BT_MQTT_SUCCESS, false);
}

void hub_conn_settle(struct hub_conn *c)
{
    if (!c->fresh)
        return;
    c->fresh = false;
    c->worker->n_fresh--;
    bt_list_remove(&c->all);
    bt_list_push_back(&c->worker->conns, &c->all);
}

void hub_conn_accept(struct hub_worker *w, int fd, const struct hub_listener_opts *o,
                     bool over)
{
    struct hub_conn *c = w->stopping ? NULL : bt_calloc(1, sizeof(*c));

    if (c == NULL || hub_listener_wrap(o, fd, &c->stream) != 0) {
        bt_free(c);
        (void)close(fd);
        hub_listener_leave(w->hub, o);
        return;
    }
    c->link.ops = &hub_conn_link_ops;
    c->msg.kind = HUB_W_ADOPT;
    c->worker = w;
    c->listener = o;
    c->in.max = (size_t)hub_listener_max_packet(o, w->conf);
    bt_list_init(&c->dirty);
    c->fresh = true;
    c->over = over;
    w->n_fresh++;
    bt_list_push_back(&w->fresh, &c->all);
    c->deadline_ms = bt_loop_ms(w->loop) + (uint64_t)w->conf->connect_timeout;
    bt_io_init(&c->io, fd, on_io);
    bt_metric_add(&hub_m_conns, 1);
    bt_metric_add(&hub_m_accepted, 1);
    bt_metric_add(&hub_m_transport[o->transport], 1);
    hub_worker_need_tick(w);
    watch(c);
    make_room(w);
}

void hub_conn_move(struct hub_conn *c, struct hub_worker *home, struct bt_slice rest)
{
    struct hub_worker *w = c->worker;
    struct bt_buf in = { .max = c->in.max + HUB_SCRATCH };

    if (bt_buf_append(&in, rest.ptr, rest.len) != 0) {
        hub_conn_close(c, BT_MQTT_UNSPECIFIED, false);
        return;
    }
    bt_buf_deinit(&c->in);
    c->in = in;
    hub_conn_settle(c);
    bt_io_leave(w->loop, &c->io);
    bt_list_remove(&c->all);
    c->worker = home;
    if (bt_mbox_post(home->mbox, &c->msg) != 0) {
        hub_stream_free(c->stream);
        (void)close(bt_io_fd(&c->io));
        bt_buf_deinit(&c->in);
        bt_free(c);
    }
}

void hub_conn_adopt(struct hub_worker *w, struct hub_conn *c)
{
    bt_list_push_back(&w->conns, &c->all);
    bt_io_start(w->loop, &c->io, BT_READ);
    hub_worker_need_tick(w);
    if (w->stopping)
        hub_conn_close(c, BT_MQTT_SHUTTING_DOWN, false);
    else if (feed_kept(c))
        read_pending(c);
}

/* ---- Output and end ---- */

static int flush_out(struct hub_conn *c)
{
    /* What a layer itself has to say goes first: a handshake, a pong. */
    if ((hub_stream_wants(c->stream) & BT_WRITE) != 0) {
        ssize_t n = hub_stream_write(c->stream, bt_io_fd(&c->io), NULL, 0);

        if (n < 0)
            return (int)n;
    }
    return hub_outq_flush(&c->out, c->stream, bt_io_fd(&c->io));
}

void hub_conn_flush(struct hub_conn *c)
{
    size_t before = c->out.bytes;
    int r = flush_out(c);

    c->worker->counts.bytes_out += before - c->out.bytes;
    if (bt_unlikely(c->out.bytes != c->output_left)) {
        c->worker->counts.output += (int64_t)c->out.bytes - c->output_left;
        c->output_left = (uint32_t)c->out.bytes;
    }
    bt_list_remove(&c->dirty);
    if (c->closed)
        return;
    if (r < 0 || c->doomed) {
        hub_conn_close(c, BT_MQTT_SUCCESS, true);
        return;
    }
    if (c->out.bytes < before)
        c->out_ticks = 0;
    c->blocked = r == HUB_OUTQ_AGAIN;
    if (c->blocked)
        hub_worker_need_tick(c->worker);
    watch(c);
    if (c->full && c->out.bytes <= c->worker->conf->max_queued_bytes / 2) {
        c->full = false;
        if (c->link.session != NULL)
            hub_session_pump(c->link.session);
    }
}

/* DISCONNECT (MQTT 5.0 §3.14): the reason in words too, unless that makes it larger than
 * the client takes. */
static void say_why(struct hub_conn *c, uint8_t reason)
{
    const char *text = bt_mqtt_reason_text(reason);
    const struct bt_mqtt_props words = {
        .present = 1u << BT_MQTT_P_REASON_STRING,
        .reason_string = { (const uint8_t *)text, strlen(text) },
    };
    struct bt_buf b bt_cleanup(bt_buf_deinit) = { 0 };

    if (bt_mqtt_encode_simple(&b, c->version, BT_MQTT_DISCONNECT, reason, &words) != 0)
        return;
    if (!hub_conn_fits(c, b.len)) {
        b.len = 0;
        if (bt_mqtt_encode_simple(&b, c->version, BT_MQTT_DISCONNECT, reason, NULL) != 0)
            return;
    }
    if (hub_conn_fits(c, b.len))
        hub_conn_send(c, &b);
}

static void record_end(struct hub_conn *c, uint8_t reason, bool will)
{
    bool lost = will && reason != BT_MQTT_DISCONNECT_WITH_WILL;
    enum hub_end end = reason >= 0x80 ? HUB_END_HUB
                       : lost         ? HUB_END_LOST
                                      : HUB_END_DISCONNECT;

    hub_record(c->link.session,
               &(struct hub_fact){ HUB_EV_DISCONNECTED, .why = reason, .n = end });
}

static void log_close(struct hub_conn *c, const char *text)
{
    struct hub_worker *w = c->worker;
    char address[HUB_IP_TEXT];
    uint32_t hidden;

    if (hub_quiet(&w->quiet[HUB_QUIET_CLOSED], bt_loop_ms(w->loop), &hidden))
        bt_log(BT_LOG_INFO, "HUB-CLOSE", "connection closed by the hub",
               "client=" BT_LOG_Q " address=%s reason=\"%s\" more=%u",
               c->link.session != NULL ? c->link.session->id : "",
               hub_ip_text(hub_conn_ip(c), address), text, hidden);
}

void hub_conn_close(struct hub_conn *c, uint8_t reason, bool will)
{
    if (c->closed)
        return;
    if (c->version == BT_MQTT_50 && reason >= 0x80)
        say_why(c, reason);
    if (c->closed) /* no memory for it */
        return;
    if (reason >= 0x80)
        log_close(c, bt_mqtt_reason_text(reason));
    c->closed = true;
    c->close_reason = reason;
    if (c->link.session != NULL) {
        record_end(c, reason, will);
        hub_principal_leave(c->link.session->principal);
        hub_session_detach(c->link.session, will);
    }
    hub_conn_settle(c);
    bt_list_remove(&c->dirty);
    bt_list_remove(&c->all);
    bt_list_push_back(&c->worker->graveyard, &c->all);
}

void hub_conn_free(struct hub_conn *c)
{
    bt_list_remove(&c->all);
    bt_list_remove(&c->dirty);
    if (c->out.bytes > 0)
        (void)!flush_out(c); /* if the socket takes it */
    hub_stream_goodbye(c->stream, c->close_reason);
    hub_stream_free(c->stream);
    bt_io_close(c->worker->loop, &c->io);
    hub_outq_deinit(&c->out);
    bt_buf_deinit(&c->in);
    hub_v5_free(c->v5);
    hub_guard_free(c->guard);
    bt_metric_add(&hub_m_conns, -1);
    bt_metric_add(&hub_m_transport[c->listener->transport], -1);
    c->worker->counts.output -= c->output_left;
    hub_listener_leave(hub_of(c), c->listener);
    bt_free(c);
}

bool hub_conn_check_time(struct hub_conn *c, uint64_t now_ms)
{
    bool watches = hub_meter_watches(c);

    if (watches && !hub_meter_check_stall(c))
        return true;
    if (c->deadline_ms == 0)
        return watches;
    if (now_ms < c->deadline_ms || c->paused)
        return true;
    if (c->version == 0)
        refused_before_login(c, BT_MQTT_KEEPALIVE_TIMEOUT);
    hub_conn_close(c, BT_MQTT_KEEPALIVE_TIMEOUT, true);
    return true;
}
