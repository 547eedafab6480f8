/* Paho's C client against a broker: paho_c URI VERSION PREFIX [CA]. Exit status 0 when
 * every step worked; otherwise the step that did not is named. */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 15000

static const char *uri, *prefix, *ca;
static int version;
static pid_t will_child;

static void require(int ok, const char *step, int code)
{
    if (ok)
        return;
    fprintf(stderr, "%s, version %d: %d\n", step, version, code);
    exit(1);
}

static const char *named(const char *name)
{
    static char text[4][128];
    static int turn;
    char *t = text[turn++ % 4];

    snprintf(t, sizeof(text[0]), "%s%s", prefix, name);
    return t;
}

/* Returns session present. */
static int connect_to(MQTTClient *c, const char *name, int clean, const char *will)
{
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    MQTTClient_connectOptions three = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions five = MQTTClient_connectOptions_initializer5;
    MQTTClient_connectOptions *o = version == 5 ? &five : &three;
    MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
    MQTTClient_willOptions w = MQTTClient_willOptions_initializer;
    MQTTProperties props = MQTTProperties_initializer;
    int r;

    create.MQTTVersion = version;
    r = MQTTClient_createWithOptions(c, uri, named(name), MQTTCLIENT_PERSISTENCE_NONE,
                                     NULL, &create);
    require(r == MQTTCLIENT_SUCCESS, "create", r);
    o->MQTTVersion = version;
    o->connectTimeout = LIMIT_MS / 1000;
    ssl.trustStore = ca;
    o->ssl = ca != NULL ? &ssl : NULL;
    w.topicName = named("/will");
    w.message = will;
    w.qos = 1;
    o->will = will != NULL ? &w : NULL;
    if (version == 5) {
        MQTTProperty expiry = { .identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL };
        MQTTResponse response;

        o->cleanstart = clean;
        expiry.value.integer4 = 300;
        if (!clean)
            MQTTProperties_add(&props, &expiry);
        response = MQTTClient_connect5(*c, o, &props, NULL);
        r = response.reasonCode;
        MQTTResponse_free(response);
        MQTTProperties_free(&props);
    } else {
        o->cleansession = clean;
        r = MQTTClient_connect(*c, o);
    }
    require(r == MQTTCLIENT_SUCCESS, "connect", r);
    return o->returned.sessionPresent;
}

static void disconnect(MQTTClient *c)
{
    int r = version == 5
                ? MQTTClient_disconnect5(*c, LIMIT_MS, MQTTREASONCODE_SUCCESS, NULL)
                : MQTTClient_disconnect(*c, LIMIT_MS);

    require(r == MQTTCLIENT_SUCCESS, "disconnect", r);
    MQTTClient_destroy(c);
}

static void subscribe(MQTTClient c, const char *topic, int qos)
{
    int r;

    if (version == 5) {
        MQTTResponse response = MQTTClient_subscribe5(c, topic, qos, NULL, NULL);

        r = response.reasonCode;
        MQTTResponse_free(response);
    } else {
        r = MQTTClient_subscribe(c, topic, qos);
    }
    require(r == qos || r == MQTTCLIENT_SUCCESS, "subscribe", r);
}

static void publish(MQTTClient c, const char *topic, const char *text, int qos,
                    int retained)
{
    MQTTClient_message m = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token = 0;
    int r;

    m.payload = (void *)text;
    m.payloadlen = (int)strlen(text);
    m.qos = qos;
    m.retained = retained;
    if (version == 5) {
        MQTTResponse response = MQTTClient_publishMessage5(c, topic, &m, &token);

        r = response.reasonCode;
        MQTTResponse_free(response);
    } else {
        r = MQTTClient_publishMessage(c, topic, &m, &token);
    }
    require(r == MQTTCLIENT_SUCCESS, "publish", r);
    if (qos > 0)
        r = MQTTClient_waitForCompletion(c, token, LIMIT_MS);
    require(r == MQTTCLIENT_SUCCESS, "acknowledgement", r);
}

static void receive(MQTTClient c, const char *text, int qos, int retained,
                    const char *step)
{
    MQTTClient_message *m = NULL;
    char *topic = NULL;
    int len, r = MQTTClient_receive(c, &topic, &len, &m, LIMIT_MS);

    require((r == MQTTCLIENT_SUCCESS || r == MQTTCLIENT_TOPICNAME_TRUNCATED) && m != NULL,
            step, r);
    require(m->payloadlen == (int)strlen(text) &&
                memcmp(m->payload, text, strlen(text)) == 0,
            step, m->payloadlen);
    require(m->qos == qos, step, m->qos);
    require(m->retained == retained, step, m->retained);
    MQTTClient_freeMessage(&m);
    MQTTClient_free(topic);
}

static void try_qos(void)
{
    MQTTClient c;

    connect_to(&c, "qos", 1, NULL);
    for (int qos = 0; qos <= 2; qos++) {
        char topic[128];

        snprintf(topic, sizeof(topic), "%s/qos%d", prefix, qos);
        subscribe(c, topic, qos);
        publish(c, topic, "hello", qos, 0);
        receive(c, "hello", qos, 0, "message");
    }
    disconnect(&c);
}

static void try_retained(void)
{
    MQTTClient a, b;

    connect_to(&a, "a", 1, NULL);
    publish(a, named("/kept"), "state", 1, 1);
    connect_to(&b, "b", 1, NULL);
    subscribe(b, named("/kept"), 1);
    receive(b, "state", 1, 1, "retained message");
    publish(a, named("/kept"), "", 1, 1);
    receive(b, "", 1, 0, "removal of the retained message");
    disconnect(&a);
    disconnect(&b);
}

/* The client with the will lives in a child that ends without a DISCONNECT. It starts
 * before this process has used the library. */
static int will_pipe[2];

static void start_will_child(void)
{
    MQTTClient c;
    char go;

    if (pipe(will_pipe) != 0 || (will_child = fork()) < 0)
        require(0, "fork", 0);
    if (will_child > 0)
        return;
    if (read(will_pipe[0], &go, 1) == 1)
        connect_to(&c, "willing", 1, "gone");
    _exit(0);
}

static void try_will(void)
{
    MQTTClient a;

    connect_to(&a, "a", 1, NULL);
    subscribe(a, named("/will"), 1);
    require(write(will_pipe[1], "x", 1) == 1, "write", 0);
    receive(a, "gone", 1, 0, "will");
    waitpid(will_child, NULL, 0);
    disconnect(&a);
}

static void try_session(void)
{
    MQTTClient a, s;

    connect_to(&a, "a", 1, NULL);
    require(connect_to(&s, "s", 0, NULL) == 0, "session present at first", 1);
    subscribe(s, named("/session"), 2);
    disconnect(&s);
    publish(a, named("/session"), "one", 1, 0);
    publish(a, named("/session"), "two", 1, 0);
    publish(a, named("/session"), "three", 2, 0);
    /* The old protocol has no flag for it, and the library does not tell it for
     * version 5. */
    require(connect_to(&s, "s", 0, NULL) == 1 || version != 4, "session present", 0);
    receive(s, "one", 1, 0, "first message of the session");
    receive(s, "two", 1, 0, "second message of the session");
    receive(s, "three", 2, 0, "third message of the session");
    disconnect(&s);
    connect_to(&s, "s", 1, NULL);
    disconnect(&s);
    disconnect(&a);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    uri = argv[1];
    version = atoi(argv[2]);
    prefix = argv[3];
    ca = argc > 4 ? argv[4] : NULL;
    start_will_child();
    try_qos();
    try_retained();
    try_will();
    try_session();
    puts("done");
    return 0;
}
