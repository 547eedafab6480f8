/* Frames by nanopb, without copies: the generated structs carry callbacks for strings
 * and bytes, and a callback only notes where in the input its bytes are, or writes
 * them from where they are.
 *
 * Happy path: fm_frame_in_feed collects bytes, fm_frame_in_next cuts one message out
 * and decodes it.
 * Failure modes: a length beyond `max` is refused from the prefix alone, before any
 * memory is reserved for it; a message that is cut short, has bytes left over, a wrong
 * wire type or not exactly one member is BT_EINVAL. After either the caller ends the
 * other side: there is no way to find the next frame. */
#include "funcmgr/process/frame.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

#include "core/error.h"
#include "funcmgr/process/frame.pb.h"

typedef baetyl_frame_Frame pb_frame;

/* ---- Strings and bytes ---- */

static bool note_slice(pb_istream_t *stream, const pb_field_iter_t *field, void **arg)
{
    struct bt_slice *slice = *arg;

    (void)field;
    /* The stream is one buffer, whose reading position is its state. */
    slice->ptr = stream->state;
    slice->len = stream->bytes_left;
    return pb_read(stream, NULL, stream->bytes_left);
}

static bool write_slice(pb_ostream_t *stream, const pb_field_iter_t *field,
                        void *const *arg)
{
    const struct bt_slice *slice = *arg;

    if (slice->len == 0)
        return true;
    return pb_encode_tag_for_field(stream, field) &&
           pb_encode_string(stream, slice->ptr, slice->len);
}

/* Encoding only reads the slice, so both directions can share the table of members below.
 */
static void bind(pb_callback_t *callback, const struct bt_slice *slice, bool encode)
{
    if (encode)
        callback->funcs.encode = write_slice;
    else
        callback->funcs.decode = note_slice;
    callback->arg = (void *)(uintptr_t)slice;
}

static void bind_hello(baetyl_frame_Hello *m, const struct fm_hello *h, bool encode)
{
    bind(&m->function, &h->function, encode);
    bind(&m->handler, &h->handler, encode);
    bind(&m->codedir, &h->codedir, encode);
    bind(&m->runtime, &h->runtime, encode);
    bind(&m->error, &h->error, encode);
    bind(&m->cannot_fork, &h->cannot_fork, encode);
}

static void bind_message(baetyl_frame_Message *m, const struct fm_message *c, bool encode)
{
    bind(&m->Topic, &c->topic, encode);
    bind(&m->Payload, &c->payload, encode);
    bind(&m->FunctionName, &c->function, encode);
    bind(&m->FunctionInvokeID, &c->invoke_id, encode);
}

static void bind_reply(baetyl_frame_Reply *m, const struct fm_reply *r, bool encode)
{
    bind(&m->payload, &r->payload, encode);
    bind(&m->error.message, &r->error_message, encode);
    bind(&m->error.type, &r->error_type, encode);
}

/* ---- Encode ---- */

static void fill(pb_frame *m, const struct fm_frame *f)
{
    switch (f->kind) {
    case FM_HELLO:
        m->has_hello = true;
        m->hello.version = f->hello.version;
        m->hello.max_message = f->hello.max_message;
        m->hello.concurrency = f->hello.concurrency;
        m->hello.forks = f->hello.forks;
        bind_hello(&m->hello, &f->hello, true);
        break;
    case FM_CALL:
        m->has_call = m->call.has_message = true;
        m->call.id = f->call.id;
        m->call.message.ID = f->call.message.id;
        m->call.message.QOS = f->call.message.qos;
        m->call.message.Timestamp = f->call.message.timestamp;
        bind_message(&m->call.message, &f->call.message, true);
        break;
    case FM_REPLY:
        m->has_reply = true;
        m->reply.id = f->reply.id;
        m->reply.has_error = f->reply.failed;
        bind_reply(&m->reply, &f->reply, true);
        break;
    case FM_LOG:
        m->has_log = true;
        m->log.level = f->log.level;
        bind(&m->log.text, &f->log.text, true);
        break;
    }
}

static void put_prefix(uint8_t *p, size_t len)
{
    p[0] = 0;
    p[1] = (uint8_t)(len >> 24);
    p[2] = (uint8_t)(len >> 16);
    p[3] = (uint8_t)(len >> 8);
    p[4] = (uint8_t)len;
}

/* Room for a frame of `size` bytes, and its prefix. */
static int begin_frame(struct bt_buf *out, size_t size, size_t max, size_t *len)
{
    int r;

    if (len != NULL)
        *len = size;
    if (size > BT_MIN(max, UINT32_MAX))
        return BT_ELIMIT;
    r = bt_buf_reserve(out, FM_FRAME_PREFIX + size);
    if (r == 0)
        put_prefix(out->data + out->len, size);
    return r;
}

/* A call is the frame that is made for every message. Written by hand it takes a tenth of
 * the time; all its fields have one-byte keys. */
#define KEY_NUMBER(field) ((uint8_t)((field) << 3))
#define KEY_BYTES(field)  ((uint8_t)((field) << 3 | 2))

static size_t varint_size(uint64_t n)
{
    size_t size = 1;

    for (; n > 127; n >>= 7)
        size++;
    return size;
}

static size_t number_size(uint64_t n)
{
    return n == 0 ? 0 : 1 + varint_size(n);
}

static size_t bytes_size(size_t len)
{
    return len == 0 ? 0 : 1 + varint_size(len) + len;
}

static uint8_t *put_varint(uint8_t *p, uint64_t n)
{
    for (; n > 127; n >>= 7)
        *p++ = (uint8_t)(n | 128);
    *p++ = (uint8_t)n;
    return p;
}

static uint8_t *put_number(uint8_t *p, unsigned field, uint64_t n)
{
    if (n == 0)
        return p;
    *p++ = KEY_NUMBER(field);
    return put_varint(p, n);
}

static uint8_t *put_bytes(uint8_t *p, unsigned field, struct bt_slice s)
{
    if (s.len == 0)
        return p;
    *p++ = KEY_BYTES(field);
    p = put_varint(p, s.len);
    memcpy(p, s.ptr, s.len);
    return p + s.len;
}

static uint64_t zigzag(int64_t n)
{
    return (uint64_t)n << 1 ^ (n < 0 ? UINT64_MAX : 0);
}

static int encode_call(const struct fm_call_frame *c, size_t max, struct bt_buf *out,
                       size_t *len)
{
    const struct fm_message *m = &c->message;
    uint64_t stamp = zigzag(m->timestamp);
    size_t inner = number_size(m->id) + number_size(m->qos) + bytes_size(m->topic.len) +
                   bytes_size(m->payload.len) + number_size(stamp) +
                   bytes_size(m->function.len) + bytes_size(m->invoke_id.len);
    size_t call = number_size(c->id) + 1 + varint_size(inner) + inner;
    size_t size = 1 + varint_size(call) + call;
    uint8_t *p;
    int r = begin_frame(out, size, max, len);

    if (r != 0)
        return r;
    p = out->data + out->len + FM_FRAME_PREFIX;
    *p++ = KEY_BYTES(baetyl_frame_Frame_call_tag);
    p = put_varint(p, call);
    p = put_number(p, baetyl_frame_Call_id_tag, c->id);
    *p++ = KEY_BYTES(baetyl_frame_Call_message_tag);
    p = put_varint(p, inner);
    p = put_number(p, baetyl_frame_Message_ID_tag, m->id);
    p = put_number(p, baetyl_frame_Message_QOS_tag, m->qos);
    p = put_bytes(p, baetyl_frame_Message_Topic_tag, m->topic);
    p = put_bytes(p, baetyl_frame_Message_Payload_tag, m->payload);
    p = put_number(p, baetyl_frame_Message_Timestamp_tag, stamp);
    p = put_bytes(p, baetyl_frame_Message_FunctionName_tag, m->function);
    put_bytes(p, baetyl_frame_Message_FunctionInvokeID_tag, m->invoke_id);
    out->len += FM_FRAME_PREFIX + size;
    return 0;
}

static int encode_any(const struct fm_frame *frame, size_t max, struct bt_buf *out,
                      size_t *len)
{
    pb_frame m = baetyl_frame_Frame_init_zero;
    pb_ostream_t stream;
    size_t size = 0;
    int r;

    fill(&m, frame);
    if (!pb_get_encoded_size(&size, baetyl_frame_Frame_fields, &m))
        return bt_origin(BT_EBUG, "a frame cannot be encoded");
    r = begin_frame(out, size, max, len);
    if (r != 0)
        return r;
    stream = pb_ostream_from_buffer(out->data + out->len + FM_FRAME_PREFIX, size);
    if (!pb_encode(&stream, baetyl_frame_Frame_fields, &m))
        return bt_origin(BT_EBUG, "a frame cannot be encoded");
    out->len += FM_FRAME_PREFIX + size;
    return 0;
}

int fm_frame_encode(const struct fm_frame *frame, size_t max, struct bt_buf *out,
                    size_t *len)
{
    return frame->kind == FM_CALL ? encode_call(&frame->call, max, out, len)
                                  : encode_any(frame, max, out, len);
}

/* ---- Decode ---- */

/* Slices of all kinds, because the kind is known only afterwards. */
struct parts {
    struct fm_hello hello;
    struct fm_message message;
    struct fm_reply reply;
    struct fm_log_frame log;
};

static void take_call(struct fm_frame *out, const pb_frame *m, const struct parts *parts)
{
    out->kind = FM_CALL;
    out->call.id = m->call.id;
    out->call.message = parts->message;
    out->call.message.id = m->call.message.ID;
    out->call.message.qos = m->call.message.QOS;
    out->call.message.timestamp = m->call.message.Timestamp;
}

static void take(struct fm_frame *out, const pb_frame *m, const struct parts *parts)
{
    if (m->has_hello) {
        out->kind = FM_HELLO;
        out->hello = parts->hello;
        out->hello.version = m->hello.version;
        out->hello.max_message = m->hello.max_message;
        out->hello.concurrency = m->hello.concurrency;
        out->hello.forks = m->hello.forks;
    } else if (m->has_call) {
        take_call(out, m, parts);
    } else if (m->has_reply) {
        out->kind = FM_REPLY;
        out->reply = parts->reply;
        out->reply.id = m->reply.id;
        out->reply.failed = m->reply.has_error;
    } else {
        out->kind = FM_LOG;
        out->log = parts->log;
        out->log.level = m->log.level;
    }
}

int fm_frame_decode(const uint8_t *data, size_t len, struct fm_frame *out)
{
    pb_frame m = baetyl_frame_Frame_init_zero;
    struct parts parts = { 0 };
    pb_istream_t stream = pb_istream_from_buffer(data, len);

    bind_hello(&m.hello, &parts.hello, false);
    bind_message(&m.call.message, &parts.message, false);
    bind_reply(&m.reply, &parts.reply, false);
    bind(&m.log.text, &parts.log.text, false);
    /* NOINIT: the callbacks of members that are bound already must stay. */
    if (!pb_decode_ex(&stream, baetyl_frame_Frame_fields, &m, PB_DECODE_NOINIT))
        return BT_EINVAL;
    if (m.has_hello + m.has_call + m.has_reply + m.has_log != 1 ||
        (m.has_call && !m.call.has_message))
        return BT_EINVAL;
    *out = (struct fm_frame){ 0 };
    take(out, &m, &parts);
    return 0;
}

/* ---- Stream ---- */

void fm_frame_in_deinit(struct fm_frame_in *in)
{
    bt_buf_deinit(&in->buf);
    in->off = 0;
}

int fm_frame_in_feed(struct fm_frame_in *in, const void *data, size_t len)
{
    if (in->off == in->buf.len && in->buf.cap > FM_FRAME_KEEP)
        fm_frame_in_deinit(in);
    if (in->off > 0) {
        bt_buf_consume(&in->buf, in->off);
        in->off = 0;
    }
    return bt_buf_append(&in->buf, data, len);
}

int fm_frame_in_next(struct fm_frame_in *in, struct fm_frame *out)
{
    size_t have = in->buf.len - in->off, len;
    const uint8_t *p;

    if (have < FM_FRAME_PREFIX)
        return FM_FRAME_MORE;
    p = in->buf.data + in->off;
    if (p[0] != 0)
        return BT_EINVAL;
    len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (len > in->max) {
        in->oversize = len;
        return BT_ELIMIT;
    }
    if (have < FM_FRAME_PREFIX + len)
        return FM_FRAME_MORE;
    in->off += FM_FRAME_PREFIX + len;
    return fm_frame_decode(p + FM_FRAME_PREFIX, len, out);
}
