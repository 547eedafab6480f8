#include "funcmgr/process/frame.c"

#include "tests/harness.h"

static bool same(struct bt_slice s, const char *want)
{
    return s.len == strlen(want) && memcmp(s.ptr, want, s.len) == 0;
}

static struct fm_frame sample(enum fm_frame_kind kind)
{
    struct fm_frame f = { .kind = kind };

    switch (kind) {
    case FM_HELLO:
        f.hello = (struct fm_hello){ 1,
                                     4096,
                                     bt_slice_of("f"),
                                     bt_slice_of("index.handler"),
                                     bt_slice_of("code"),
                                     bt_slice_of("python 3"),
                                     bt_slice_of("why"),
                                     16,
                                     true,
                                     bt_slice_of("a thread") };
        break;
    case FM_CALL:
        f.call.id = 300;
        f.call.message = (struct fm_message){ 7,
                                              1,
                                              bt_slice_of("t"),
                                              bt_slice_of("payload"),
                                              -5,
                                              bt_slice_of("f"),
                                              bt_slice_of("uuid") };
        break;
    case FM_REPLY:
        f.reply = (struct fm_reply){ 300, bt_slice_of("result"), true, bt_slice_of("bad"),
                                     bt_slice_of("Unknown") };
        break;
    case FM_LOG:
        f.log = (struct fm_log_frame){ 2, bt_slice_of("line") };
        break;
    }
    return f;
}

static void check_sample(const struct fm_frame *f)
{
    switch (f->kind) {
    case FM_HELLO:
        CHECK_INT(f->hello.version, 1);
        CHECK_INT(f->hello.max_message, 4096);
        CHECK(same(f->hello.function, "f") && same(f->hello.handler, "index.handler"));
        CHECK(same(f->hello.codedir, "code") && same(f->hello.runtime, "python 3"));
        CHECK(same(f->hello.error, "why"));
        CHECK_INT(f->hello.concurrency, 16);
        CHECK(f->hello.forks && same(f->hello.cannot_fork, "a thread"));
        break;
    case FM_CALL:
        CHECK_INT(f->call.id, 300);
        CHECK_INT(f->call.message.id, 7);
        CHECK_INT(f->call.message.qos, 1);
        CHECK_INT(f->call.message.timestamp, -5);
        CHECK(same(f->call.message.topic, "t") &&
              same(f->call.message.payload, "payload"));
        CHECK(same(f->call.message.function, "f") &&
              same(f->call.message.invoke_id, "uuid"));
        break;
    case FM_REPLY:
        CHECK_INT(f->reply.id, 300);
        CHECK(f->reply.failed && same(f->reply.payload, "result"));
        CHECK(same(f->reply.error_message, "bad") &&
              same(f->reply.error_type, "Unknown"));
        break;
    case FM_LOG:
        CHECK_INT(f->log.level, 2);
        CHECK(same(f->log.text, "line"));
        break;
    }
}

static struct bt_buf encode(const struct fm_frame *f)
{
    struct bt_buf out = { 0 };

    CHECK_INT(fm_frame_encode(f, 1 << 20, &out, NULL), 0);
    return out;
}

/* The call that is written by hand is the one that nanopb writes. */
TEST(calls_are_as_the_library_writes_them)
{
    static const uint64_t numbers[] = { 0, 1, 127, 128, 65535, UINT64_MAX };
    static const size_t lengths[] = { 0, 1, 127, 128, 20000 };
    static uint8_t bytes[20000];

    for (size_t i = 0; i < BT_ARRAY_LEN(numbers) * BT_ARRAY_LEN(lengths); i++) {
        uint64_t n = numbers[i % BT_ARRAY_LEN(numbers)];
        size_t len = lengths[i / BT_ARRAY_LEN(numbers)], one = 0, two = 0;
        struct fm_frame f = { .kind = FM_CALL };
        struct bt_buf a = { 0 }, b = { 0 };

        memset(bytes, 'x', sizeof(bytes));
        f.call.id = n;
        f.call.message = (struct fm_message){ .id = n,
                                              .qos = (uint32_t)n,
                                              .topic = bt_slice_of("a/b"),
                                              .payload = { bytes, len },
                                              .timestamp = (int64_t)n,
                                              .function = bt_slice_of(""),
                                              .invoke_id = bt_slice_of("id") };
        CHECK_INT(fm_frame_encode(&f, 30000, &a, &one), 0);
        CHECK_INT(encode_any(&f, 30000, &b, &two), 0);
        CHECK(one == two && a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        bt_buf_deinit(&a);
        bt_buf_deinit(&b);
    }
}

TEST(every_kind_comes_back)
{
    for (int kind = FM_HELLO; kind <= FM_LOG; kind++) {
        struct fm_frame f = sample((enum fm_frame_kind)kind), got;
        struct bt_buf out = encode(&f);

        CHECK_INT(fm_frame_decode(out.data + 5, out.len - 5, &got), 0);
        CHECK_INT(got.kind, kind);
        check_sample(&got);
        bt_buf_deinit(&out);
    }
}

/* The bytes of docs/frames.md. */
TEST(known_bytes)
{
    static const uint8_t want[] = { 0, 0, 0, 0, 8, 0x1a, 6, 8, 1, 0x12, 2, 'h', 'i' };
    struct fm_frame f = { .kind = FM_REPLY };
    struct bt_buf out;

    f.reply.id = 1;
    f.reply.payload = bt_slice_of("hi");
    out = encode(&f);
    CHECK_INT(out.len, sizeof(want));
    CHECK_MEM(out.data, want, sizeof(want));
    bt_buf_deinit(&out);
}

TEST(split_at_every_position)
{
    struct fm_frame f = sample(FM_CALL), got;
    struct bt_buf out = encode(&f);

    for (size_t cut = 0; cut <= out.len; cut++) {
        struct fm_frame_in in = { .max = 1 << 20 };

        CHECK_INT(fm_frame_in_feed(&in, out.data, cut), 0);
        if (cut < out.len)
            CHECK_INT(fm_frame_in_next(&in, &got), FM_FRAME_MORE);
        CHECK_INT(fm_frame_in_feed(&in, out.data + cut, out.len - cut), 0);
        CHECK_INT(fm_frame_in_next(&in, &got), 0);
        check_sample(&got);
        CHECK_INT(fm_frame_in_next(&in, &got), FM_FRAME_MORE);
        fm_frame_in_deinit(&in);
    }
    bt_buf_deinit(&out);
}

TEST(several_in_one_chunk)
{
    struct fm_frame a = sample(FM_LOG), b = sample(FM_REPLY), got;
    struct fm_frame_in in = { .max = 1 << 20 };
    struct bt_buf out = encode(&a);

    CHECK_INT(fm_frame_encode(&b, 1 << 20, &out, NULL), 0);
    CHECK_INT(fm_frame_in_feed(&in, out.data, out.len), 0);
    CHECK_INT(fm_frame_in_next(&in, &got), 0);
    CHECK_INT(got.kind, FM_LOG);
    CHECK_INT(fm_frame_in_next(&in, &got), 0);
    CHECK_INT(got.kind, FM_REPLY);
    check_sample(&got);
    CHECK_INT(fm_frame_in_next(&in, &got), FM_FRAME_MORE);
    fm_frame_in_deinit(&in);
    bt_buf_deinit(&out);
}

TEST(truncated_is_never_a_call)
{
    struct fm_frame f = sample(FM_CALL), got;
    struct bt_buf out = encode(&f);

    for (size_t len = 0; len < out.len - 5; len++)
        CHECK_INT(fm_frame_decode(out.data + 5, len, &got), BT_EINVAL);
    bt_buf_deinit(&out);
}

TEST(oversize_is_refused_from_the_prefix)
{
    static const uint8_t prefix[] = { 0, 0xff, 0xff, 0xff, 0xff };
    struct fm_frame_in in = { .max = 1000 };
    struct fm_frame got;

    CHECK_INT(fm_frame_in_feed(&in, prefix, sizeof(prefix)), 0);
    CHECK_INT(fm_frame_in_next(&in, &got), BT_ELIMIT);
    CHECK_INT(in.oversize, 0xffffffff);
    CHECK(in.buf.cap < 4096);
    fm_frame_in_deinit(&in);
}

TEST(oversize_is_not_encoded)
{
    struct fm_frame f = sample(FM_CALL);
    struct bt_buf out = { 0 };
    size_t len = 0;

    CHECK_INT(fm_frame_encode(&f, 10, &out, &len), BT_ELIMIT);
    CHECK(len > 10 && len < 100);
    CHECK_INT(out.len, 0);
    bt_buf_deinit(&out);
}

TEST(garbage)
{
    static const uint8_t flag[] = { 1, 0, 0, 0, 0 };
    static const uint8_t both[] = { 0x0a, 2, 8, 1, 0x22, 0 };
    static const uint8_t wire[] = { 0x0f };
    static const uint8_t call_without_message[] = { 0x12, 2, 8, 1 };
    struct fm_frame_in in = { .max = 1000 };
    struct fm_frame got;

    CHECK_INT(fm_frame_in_feed(&in, flag, sizeof(flag)), 0);
    CHECK_INT(fm_frame_in_next(&in, &got), BT_EINVAL);
    fm_frame_in_deinit(&in);
    CHECK_INT(fm_frame_decode(NULL, 0, &got), BT_EINVAL);
    CHECK_INT(fm_frame_decode(both, sizeof(both), &got), BT_EINVAL);
    CHECK_INT(fm_frame_decode(wire, sizeof(wire), &got), BT_EINVAL);
    CHECK_INT(fm_frame_decode(call_without_message, 4, &got), BT_EINVAL);
}

TEST(unknown_fields_are_skipped)
{
    static const uint8_t more[] = { 0x98, 6, 5, 0x22, 2, 8, 2 };
    struct fm_frame got;

    CHECK_INT(fm_frame_decode(more, sizeof(more), &got), 0);
    CHECK_INT(got.kind, FM_LOG);
    CHECK_INT(got.log.level, 2);
}

TEST(random_bytes_do_no_harm)
{
    uint8_t bytes[64];
    struct fm_frame got;

    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)(test_random() % sizeof(bytes));

        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)test_random();
        if (len > 1)
            bytes[0] = (uint8_t)((test_random() % 4 + 1) << 3 | 2);
        (void)!fm_frame_decode(bytes, len, &got);
    }
}
