#include "hub/net/ws_pack.c"

#include "tests/harness.h"

static uint8_t bytes[4096], out[8192];
static size_t n_bytes;

/* Appends a PUBLISH of n bytes in all (2 < n < 127 or n > 130). */
static void packet(size_t n)
{
    size_t head = n < 130 ? 2 : 3;

    bytes[n_bytes] = 0x30;
    bytes[n_bytes + 1] = (uint8_t)(n < 130 ? n - 2 : ((n - 3) & 0x7f) | 0x80);
    if (head == 3)
        bytes[n_bytes + 2] = (uint8_t)((n - 3) >> 7);
    for (size_t i = head; i < n; i++)
        bytes[n_bytes + i] = (uint8_t)test_random();
    n_bytes += n;
}

/* Every frame in out must be one packet of bytes. */
static void check_frames(size_t len, size_t taken)
{
    size_t at = 0, seen = 0;

    while (at < len) {
        size_t n = out[at + 1], head = 2, packet_size = 0;

        CHECK_INT(out[at], 0x82);
        if (n == 126) {
            n = (size_t)out[at + 2] << 8 | out[at + 3];
            head = 4;
        }
        CHECK_INT(bt_mqtt_frame(out + at + head, n, &packet_size), 0);
        CHECK_INT(packet_size, n);
        CHECK_MEM(out + at + head, bytes + seen, n);
        seen += n;
        at += head + n;
    }
    CHECK_INT(at, len);
    CHECK_INT(seen, taken);
}

/* Works. */

TEST(a_frame_for_each_packet)
{
    struct iovec iov[8];
    size_t taken;

    for (size_t cut = 1; cut < 300; cut++) {
        size_t at = 0, len;
        int n = 0;

        n_bytes = 0;
        packet(2);
        packet(126);
        packet(4);
        packet(200);
        packet(127);
        for (; n < 7; n++, at += iov[n - 1].iov_len)
            iov[n] = (struct iovec){ bytes + at, BT_MIN(cut, n_bytes - at) };
        iov[n++] = (struct iovec){ bytes + at, n_bytes - at };
        CHECK_INT(hub_ws_packet_len(iov, n), 2);
        len = hub_ws_pack(iov, n, out, sizeof(out), &taken);
        CHECK_INT(taken, n_bytes);
        check_frames(len, taken);
    }
}

TEST(as_many_as_fit)
{
    struct iovec iov = { bytes, 0 };
    size_t taken, len;

    n_bytes = 0;
    for (int i = 0; i < 10; i++)
        packet(100);
    iov.iov_len = n_bytes;
    for (size_t room = 0; room < 1100; room++) {
        len = hub_ws_pack(&iov, 1, out, room, &taken);
        CHECK(len <= room && taken % 100 == 0);
        check_frames(len, taken);
    }
    CHECK_INT(taken, 1000);
}

/* Fails. */

TEST(not_whole)
{
    struct iovec iov = { bytes, 0 };
    size_t taken;

    n_bytes = 0;
    packet(100);
    packet(50);
    iov.iov_len = 120;
    CHECK_INT(hub_ws_pack(&iov, 1, out, sizeof(out), &taken), 102);
    CHECK_INT(taken, 100);
    iov = (struct iovec){ bytes + 100, 20 };
    CHECK_INT(hub_ws_pack(&iov, 1, out, sizeof(out), &taken), 0);
    CHECK_INT(hub_ws_packet_len(&iov, 1), 50);
    iov.iov_len = 1;
    CHECK_INT(hub_ws_packet_len(&iov, 1), 1);
    CHECK_INT(hub_ws_pack(&iov, 1, out, sizeof(out), &taken), 0);
    CHECK_INT(hub_ws_pack(&iov, 0, out, sizeof(out), &taken), 0);
}
