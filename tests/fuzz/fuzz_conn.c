/* Whole conversations: a few connections talk to a hub on one thread. The input is a
 * list of steps: packets put together from its bytes, raw bytes, turns, breaks, time,
 * slow readers, a failing allocation. Whatever is said, the hub must neither crash, leak
 * nor hang, what it answers must decode, and its books must balance. */
#include "tests/hub/sim_balance.h"
#include "tests/hub/sim_mqtt.h"

#define PEERS 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *at, *end;
static struct sim_client clients[PEERS];
static bool known[PEERS]; /* the version is, because our own CONNECT came first */

static unsigned next(void)
{
    return at < end ? *at++ : 0;
}

static const char *const words[] = {
    "a",       "a/b",          "a/+", "#",    "+/b", "$share/g/a/#", "$SYS/broker/x",
    "a/b/c/d", "$share/h/a/b", "/",   "a//b", "b",   "$share/g",     "a/#/b",
    "",        "w/i/l/l",
};

static const char *word(void)
{
    return words[next() % BT_ARRAY_LEN(words)];
}

static void put_props(unsigned version)
{
    unsigned n = next() % 24;

    if (version != 5)
        return;
    sim_put_u8(n);
    for (unsigned i = 0; i < n; i++)
        sim_put_u8(next());
}

/* One well-known property, so that useful ones are met often. */
static void put_a_prop(unsigned version)
{
    static const uint8_t props[][8] = {
        { 0 },
        { 3, 0x21, 0, 2 },        /* receive maximum 2 */
        { 5, 0x11, 0, 0, 0, 5 },  /* session expiry 5 s */
        { 5, 0x27, 0, 0, 0, 40 }, /* maximum packet size 40 */
        { 3, 0x22, 0, 3 },        /* topic alias maximum 3 */
        { 3, 0x23, 0, 1 },        /* topic alias 1 */
        { 5, 0x02, 0, 0, 0, 1 },  /* message expiry 1 s */
        { 2, 0x0b, 9 },           /* subscription identifier 9 */
        { 7, 0x26, 0, 1, 'k', 0, 1, 'v' },
        { 5, 0x18, 0, 0, 0, 3 }, /* will delay 3 s */
        { 2, 0x17, 0 },          /* no problem information */
        { 2, 0x01, 1 },          /* payload is text */
    };
    const uint8_t *p = props[next() % BT_ARRAY_LEN(props)];

    if (next() % 4 == 0)
        put_props(version);
    else if (version == 5)
        sim_put(p, p[0] + 1u);
}

static void say_connect(struct sim_client *c)
{
    static const uint8_t versions[] = { 4, 5, 3, 5, 4, 5, 6, 5 };
    unsigned version = versions[next() & 7], flags = next();
    char id[2] = { (char)('a' + next() % 4), '\0' };

    if (c->version == 0) {
        c->version = version;
        known[c - clients] = version == 4 || version == 5 || version == 3;
    }
    sim_put_text(version == 3 ? "MQIsdp" : "MQTT");
    sim_put_u8(version);
    sim_put_u8(flags & 0x3e);
    sim_put_u16(next() & 3);
    put_a_prop(version);
    sim_put_text(next() % 16 == 0 ? "" : id);
    if ((flags & 4) != 0) {
        put_a_prop(version);
        sim_put_text(word());
        sim_put_text("will");
    }
    sim_finish(c->peer, 0x10);
}

static void say_publish(struct sim_client *c)
{
    unsigned flags = next();

    sim_put_text(word());
    if ((flags & 6) != 0)
        sim_put_u16(next() % 8);
    put_a_prop(c->version);
    for (unsigned n = next(); n > 0; n--)
        sim_put_u8('x');
    sim_finish(c->peer, 0x30 | (flags & 15));
}

static void say_subscribe(struct sim_client *c, unsigned first)
{
    sim_put_u16(next());
    put_a_prop(c->version);
    for (unsigned n = next() % 4; n > 0; n--) {
        sim_put_text(word());
        if (first == 0x82)
            sim_put_u8(next() & 0x3f);
    }
    sim_finish(c->peer, first);
}

static void say_ack(struct sim_client *c)
{
    static const uint8_t firsts[] = { 0x40, 0x50, 0x62, 0x70 };
    unsigned first = firsts[next() & 3];

    sim_put_u16(next() % 12);
    if (next() % 4 == 0)
        sim_put_u8(next());
    sim_finish(c->peer, first);
}

static void say_raw(struct sim_client *c)
{
    size_t n = next(), left = (size_t)(end - at);

    n = BT_MIN(n, left);
    if (c->version == 0)
        c->version = 4;
    sim_send(c->peer, at, n);
    at += n;
}

/* What came is read; a client that behaves answers it. */
static void listen(struct sim_client *c, bool answer)
{
    struct sim_heard h;

    if (!known[c - clients]) {
        while (sim_next(c->peer).ptr != NULL)
            ;
        return;
    }
    while (sim_hear(c, &h)) {
        if (!answer)
            continue;
        if (h.type == BT_MQTT_PUBLISH && h.qos > 0)
            sim_say_ack(c, h.qos == 1 ? 0x40 : 0x50, h.pid);
        if (h.type == BT_MQTT_PUBREC)
            sim_say_ack(c, 0x62, h.pid);
        if (h.type == BT_MQTT_PUBREL)
            sim_say_ack(c, 0x70, h.pid);
    }
}

static void open_peer(unsigned i)
{
    struct sim_client *c = &clients[i];

    if (c->peer != NULL)
        c->peer->eof = true;
    c->version = 0;
    known[i] = false;
    c->peer = sim_connect(next() % sim.hub->n_workers);
    if (c->peer != NULL)
        say_connect(c);
}

static void say(struct sim_client *c, unsigned what)
{
    switch (what) {
    case 0:
        say_publish(c);
        break;
    case 1:
        say_subscribe(c, 0x82);
        break;
    case 2:
        say_subscribe(c, 0xa2);
        break;
    case 3:
        say_ack(c);
        break;
    case 4:
        sim_finish(c->peer, next() & 1 ? 0xc0 : 0xe0);
        break;
    case 5:
        say_raw(c);
        break;
    case 6:
        say_connect(c);
        break;
    }
}

static void step(void)
{
    unsigned op = next(), i = op >> 4;
    struct sim_client *c = &clients[i % PEERS];

    if (c->peer == NULL || c->peer->gone) {
        open_peer(i % PEERS);
        return;
    }
    switch (op & 15) {
    case 8:
        c->peer->eof = true;
        break;
    case 9:
        sim_pass(next() * 100u);
        break;
    case 10:
        c->peer->room = next() & 1 ? SIZE_MAX : next();
        break;
    case 11:
        (void)bt_mem_fail_once(next() % 64);
        sim_run();
        (void)bt_mem_fail_once(0);
        break;
    case 12:
        listen(c, true);
        break;
    case 13:
        open_peer(i % PEERS);
        break;
    case 7:
    case 14:
        sim_turn();
        break;
    case 15:
        sim_run();
        break;
    default:
        say(c, op & 15);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const configs[] = {
        "workers: 1\n",
        "{workers: 3, limits: {queue: {messages: 10, bytes: 4k}},"
        " message: {egress: {qos1: {buffer: {size: 2}}}}}\n",
        "{workers: 2, limits: {session: {messages: 3, bytes: 1k, qos1: refuse-newest},"
        " client: {connections: 2, messages: {rate: 20, burst: 3}, packet: 200,"
        " subscriptions: 3, inflight: 2, queue: 3}},"
        " subscriptions: [{source: {topic: a/+, qos: 1}, target: {topic: b, qos: 1}}],"
        " sys: {interval: 1s}, message: {payload: {check: true}}}\n",
    };

    at = data;
    end = data + size;
    memset(clients, 0, sizeof(clients));
    memset(known, 0, sizeof(known));
    sim_begin(configs[next() % BT_ARRAY_LEN(configs)]);
    while (at < end)
        step();
    sim_run();
    for (unsigned i = 0; i < PEERS; i++)
        if (clients[i].peer != NULL)
            listen(&clients[i], false);
    sim_balance();
    sim_end();
    return 0;
}
