/* The opening handshake. A list of demands in the order in which their failure helps the
 * person most: the right path, a WebSocket at all, its version, its key, who asks, the
 * subprotocol. Each has its HTTP status and a sentence in the body of the answer.
 *
 * The origin protects people whose browser is inside the network from pages that are not:
 * a browser always names it, other clients need not, so a request without one passes. */
#include "hub/net/ws_handshake.h"

#include <string.h>

#include "core/error.h"
#include "core/hash.h"

#define KEY_LEN 24u /* base64 of 16 bytes */

struct answer {
    unsigned status;
    const char *text;
};

static bool is_key(struct bt_slice key)
{
    uint8_t bytes[16];
    size_t n = 0;

    return key.len == KEY_LEN && bt_base64_decode(key, bytes, sizeof(bytes), &n) == 0 &&
           n == sizeof(bytes);
}

static bool right_origin(const struct hub_ws_rules *rules,
                         const struct bt_http_request *r)
{
    const struct bt_conf_strings *list = rules->origins;
    struct bt_slice origin = bt_http_field(r, "Origin");

    if (list == NULL || list->n == 0 || origin.ptr == NULL)
        return true;
    if (bt_http_count(r, "Origin") > 1)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], "*") == 0 || bt_http_is_nocase(origin, list->items[i]))
            return true;
    return false;
}

/* The one of the subprotocols offered that is chosen; NULL: none is MQTT. */
static const char *choose(const struct bt_http_request *r)
{
    const char *chosen = NULL;

    for (uint32_t i = 0; i < r->n_fields; i++) {
        struct bt_slice list = r->fields[i].value, word;

        if (!bt_http_is_nocase(r->fields[i].name, "Sec-WebSocket-Protocol"))
            continue;
        while (bt_http_next_token(&list, &word)) {
            if (bt_http_is(word, "mqtt"))
                return "mqtt";
            if (bt_http_is(word, "mqttv3.1"))
                chosen = "mqttv3.1";
        }
    }
    return chosen;
}

static struct answer judge(const struct hub_ws_rules *rules,
                           const struct bt_http_request *r)
{
    if (rules->path != NULL && !bt_http_is(r->path, rules->path))
        return (struct answer){ 404, "no WebSocket at this path" };
    if (!bt_http_is(r->method, "GET"))
        return (struct answer){ 405, "a WebSocket is asked for by GET" };
    if (r->minor == 0 || !bt_http_has_token(r, "Upgrade", "websocket") ||
        !bt_http_has_token(r, "Connection", "upgrade"))
        return (struct answer){ 426, "this port speaks MQTT over WebSocket" };
    if (r->chunked || r->content_length > 0)
        return (struct answer){ 400, "a handshake has no body" };
    if (bt_http_count(r, "Sec-WebSocket-Version") != 1 ||
        !bt_http_is(bt_http_field(r, "Sec-WebSocket-Version"), "13"))
        return (struct answer){ 426, "the WebSocket version must be 13" };
    if (bt_http_count(r, "Sec-WebSocket-Key") != 1 ||
        !is_key(bt_http_field(r, "Sec-WebSocket-Key")))
        return (struct answer){ 400, "no valid Sec-WebSocket-Key" };
    if (!right_origin(rules, r))
        return (struct answer){ 403, "this origin is not allowed" };
    /* Clients that offer none were served by the original, and mean MQTT. */
    if (choose(r) == NULL && bt_http_count(r, "Sec-WebSocket-Protocol") > 0)
        return (struct answer){ 400, "none of the subprotocols offered is mqtt" };
    return (struct answer){ 101, "" };
}

static void accept_key(struct bt_slice key, char out[BT_BASE64_ROOM(BT_SHA1_LEN)])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_LEN + sizeof(guid) - 1], hash[BT_SHA1_LEN];

    memcpy(text, key.ptr, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
    bt_sha1((struct bt_slice){ text, sizeof(text) }, hash);
    (void)bt_base64_encode((struct bt_slice){ hash, sizeof(hash) }, out,
                           BT_BASE64_ROOM(BT_SHA1_LEN));
}

static int put_upgrade(const struct bt_http_request *r, struct bt_buf *out)
{
    char key[BT_BASE64_ROOM(BT_SHA1_LEN)];
    const char *chosen = choose(r);

    accept_key(bt_http_field(r, "Sec-WebSocket-Key"), key);
    return bt_buf_printf(out,
                         "HTTP/1.1 101 Switching Protocols\r\n"
                         "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                         key, chosen != NULL ? "Sec-WebSocket-Protocol: " : "",
                         chosen != NULL ? chosen : "", chosen != NULL ? "\r\n" : "");
}

static int put_refusal(struct answer a, struct bt_buf *out)
{
    size_t n = strlen(a.text) + 1;
    int r = bt_http_put_status(out, a.status);

    if (r == 0 && a.status == 405)
        r = bt_http_put_field(out, "Allow", "GET");
    if (r == 0 && a.status == 426)
        r = bt_buf_append_str(out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (r == 0)
        r = bt_http_put_field(out, "Content-Type", "text/plain");
    if (r == 0)
        r = bt_http_put_end(out, n, false);
    return r != 0 ? r : bt_buf_printf(out, "%s\n", a.text);
}

int hub_ws_handshake(const struct hub_ws_rules *rules, const struct bt_http_request *r,
                     struct bt_buf *out)
{
    struct answer a = judge(rules, r);
    int code = a.status == 101 ? put_upgrade(r, out) : put_refusal(a, out);

    return code != 0 ? code : (int)a.status;
}

int hub_ws_refuse(unsigned status, struct bt_buf *out)
{
    return put_refusal((struct answer){ status, bt_http_status_text(status) }, out);
}
