/* A format is text with letters behind percent signs, each a row of a table with its
 * printer. */
#include "core/cmd_format.h"

#include "core/clock.h"

#include <string.h>

static void put(FILE *out, struct bt_slice s)
{
    if (s.len > 0)
        fwrite(s.ptr, 1, s.len, out);
}

static void put_topic(FILE *out, const struct bt_mqtt_packet *p)
{
    put(out, p->publish.topic);
}

static void put_payload(FILE *out, const struct bt_mqtt_packet *p)
{
    put(out, p->publish.payload);
}

static void put_hex(FILE *out, const struct bt_mqtt_packet *p)
{
    for (size_t i = 0; i < p->publish.payload.len; i++)
        fprintf(out, "%02x", p->publish.payload.ptr[i]);
}

static void put_length(FILE *out, const struct bt_mqtt_packet *p)
{
    fprintf(out, "%zu", p->publish.payload.len);
}

static void put_qos(FILE *out, const struct bt_mqtt_packet *p)
{
    fprintf(out, "%u", (unsigned)p->publish.qos);
}

static void put_retain(FILE *out, const struct bt_mqtt_packet *p)
{
    fputs(p->publish.retain ? "1" : "0", out);
}

static void put_dup(FILE *out, const struct bt_mqtt_packet *p)
{
    fputs(p->publish.dup ? "1" : "0", out);
}

static void put_pid(FILE *out, const struct bt_mqtt_packet *p)
{
    fprintf(out, "%u", (unsigned)p->publish.pid);
}

static void put_content_type(FILE *out, const struct bt_mqtt_packet *p)
{
    put(out, p->props.content_type);
}

static void put_response_topic(FILE *out, const struct bt_mqtt_packet *p)
{
    put(out, p->props.response_topic);
}

static void put_correlation(FILE *out, const struct bt_mqtt_packet *p)
{
    put(out, p->props.correlation_data);
}

static void put_expiry(FILE *out, const struct bt_mqtt_packet *p)
{
    if ((p->props.present & 1u << BT_MQTT_P_MESSAGE_EXPIRY) != 0)
        fprintf(out, "%u", (unsigned)p->props.message_expiry);
}

static void put_subids(FILE *out, const struct bt_mqtt_packet *p)
{
    for (unsigned i = 0; i < p->props.n_subids; i++)
        fprintf(out, "%s%u", i > 0 ? " " : "", (unsigned)p->props.subids[i]);
}

static void put_users(FILE *out, const struct bt_mqtt_packet *p)
{
    struct bt_mqtt_user user;
    size_t pos = 0;

    for (int i = 0; bt_mqtt_user_next(p->props.raw, &pos, &user); i++) {
        fputs(i > 0 ? " " : "", out);
        put(out, user.name);
        fputc(':', out);
        put(out, user.value);
    }
}

static void put_unix(FILE *out, const struct bt_mqtt_packet *p)
{
    int64_t now = bt_clock_wall_ms();

    (void)p;
    fprintf(out, "%lld.%03d", (long long)(now / 1000), (int)(now % 1000));
}

static void put_utc(FILE *out, const struct bt_mqtt_packet *p)
{
    char text[BT_CLOCK_TEXT_LEN];

    (void)p;
    bt_clock_text(bt_clock_wall_ms(), text);
    fputs(text, out);
}

static void put_percent(FILE *out, const struct bt_mqtt_packet *p)
{
    (void)p;
    fputc('%', out);
}

static const struct letter {
    char letter;
    void (*print)(FILE *out, const struct bt_mqtt_packet *p);
} letters[] = {
    { 't', put_topic },
    { 'p', put_payload },
    { 'x', put_hex },
    { 'l', put_length },
    { 'q', put_qos },
    { 'r', put_retain },
    { 'd', put_dup },
    { 'i', put_pid },
    { 'm', put_pid },
    { 'C', put_content_type },
    { 'D', put_correlation },
    { 'E', put_expiry },
    { 'R', put_response_topic },
    { 'S', put_subids },
    { 'P', put_users },
    { 'U', put_unix },
    { 'I', put_utc },
    { '%', put_percent },
};

static const struct letter *find(char c)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(letters); i++) {
        if (letters[i].letter == c)
            return &letters[i];
    }
    return NULL;
}

bool cmd_format_ok(const char *format, char *bad)
{
    for (const char *s = strchr(format, '%'); s != NULL; s = strchr(s + 2, '%')) {
        *bad = s[1];
        if (find(s[1]) == NULL)
            return false;
    }
    return true;
}

/* \n and the like; anything else stands for itself. */
static char escaped(char c)
{
    static const char from[] = "ntr0ae", to[] = "\n\t\r\0\a\033";
    const char *at = c != '\0' ? strchr(from, c) : NULL;

    return at != NULL ? to[at - from] : c;
}

void cmd_format_print(FILE *out, const char *format, const struct bt_mqtt_packet *p)
{
    for (const char *s = format; *s != '\0'; s++) {
        if (*s == '%' && s[1] != '\0')
            find(*++s)->print(out, p);
        else if (*s == '\\' && s[1] != '\0')
            fputc(escaped(*++s), out);
        else
            fputc(*s, out);
    }
}
