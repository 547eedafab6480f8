/* From a delivery to a call record, from a result to the bytes that are published. */
#include "funcmgr/rule/message.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/sys.h"
#include "funcmgr/rule/error_json.h"

#define UUID_BYTES 16u
/* Random bytes are fetched for so many ids at once. */
#define UUID_BATCH 64u

static void random_bytes(uint8_t out[UUID_BYTES])
{
    static _Thread_local uint8_t batch[UUID_BATCH * UUID_BYTES];
    static _Thread_local size_t left;

    if (left == 0) {
        if (bt_sys_random(batch, sizeof(batch)) != 0)
            memset(batch, 0, sizeof(batch));
        left = sizeof(batch);
    }
    left -= UUID_BYTES;
    memcpy(out, batch + left, UUID_BYTES);
}

void fm_uuid(char out[FM_UUID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t b[UUID_BYTES];
    size_t n = 0;

    random_bytes(b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[n++] = '-';
        out[n++] = digits[b[i] >> 4];
        out[n++] = digits[b[i] & 15];
    }
    out[n] = '\0';
}

void fm_message_of(struct fm_message *out, const struct fm_delivery *d,
                   const char *function, const char *uuid)
{
    *out = (struct fm_message){
        .id = d->pid,
        .qos = d->qos,
        .topic = d->topic,
        .payload = d->payload,
        .timestamp = bt_clock_wall_ms() / 1000,
        .function = { (const uint8_t *)function, strlen(function) },
        .invoke_id = { (const uint8_t *)uuid, strlen(uuid) },
    };
}

/* The input is repeated in the error message as long as the receiver takes it that way.
 */
static int make_error(struct fm_answer *out, const char *message, const char *type,
                      const struct fm_message *input, size_t max)
{
    int r = fm_error_json(&out->json, message, type, input, true);

    if (r == 0 && out->json.len > max) {
        out->json.len = 0;
        r = fm_error_json(&out->json, message, type, input, false);
    }
    out->error = true;
    out->payload = (struct bt_slice){ out->json.data, out->json.len };
    return r;
}

int fm_answer_init(struct fm_answer *out, const struct fm_result *result,
                   const struct fm_message *input, size_t max)
{
    char message[160];

    *out = (struct fm_answer){ .payload = { NULL, 0 } };
    if (result->outcome != FM_OK)
        return make_error(out, result->message, result->type, input, max);
    if (result->payload.len <= max) {
        out->payload = result->payload;
        return 0;
    }
    snprintf(message, sizeof(message),
             "rpc error: code = ResourceExhausted desc = the result is larger than the "
             "hub accepts (%zu vs. %zu)",
             result->payload.len, max);
    return make_error(out, message, FM_STATUS_ERROR, input, max);
}

void fm_answer_deinit(struct fm_answer *answer)
{
    bt_buf_deinit(&answer->json);
}
