#include "core/hash.c"

#include "tests/harness.h"

static struct bt_slice str(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

static const char *hex(const uint8_t *p, size_t n)
{
    static char text[256];

    for (size_t i = 0; i < n; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", p[i]);
    return text;
}

/* Works. */

TEST(sha1_of_rfc_3174_and_rfc_6455)
{
    static const char want[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    uint8_t out[BT_SHA1_LEN];
    char text[BT_BASE64_ROOM(BT_SHA1_LEN)];

    bt_sha1(str("abc"), out);
    CHECK_STR(hex(out, sizeof(out)), "a9993e364706816aba3e25717850c26c9cd0d89d");
    bt_sha1(str("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), out);
    CHECK_INT(bt_base64_encode((struct bt_slice){ out, sizeof(out) }, text, sizeof(text)),
              28);
    CHECK_STR(text, want);
}

TEST(sha256_of_fips_180_4)
{
    uint8_t out[BT_SHA256_LEN];

    bt_sha256(str("abc"), out);
    CHECK_STR(hex(out, sizeof(out)),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    bt_sha256((struct bt_slice){ NULL, 0 }, out);
    CHECK_STR(hex(out, sizeof(out)),
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(hmac_of_rfc_4231_in_one_and_in_two_parts)
{
    static const char want[] =
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const struct bt_slice one[] = { str("what do ya want for nothing?") };
    const struct bt_slice two[] = { str("what do ya "), str("want for nothing?") };
    uint8_t out[BT_SHA256_LEN];

    CHECK_INT(bt_hmac_sha256(str("Jefe"), one, 1, out), 0);
    CHECK_STR(hex(out, sizeof(out)), want);
    CHECK_INT(bt_hmac_sha256(str("Jefe"), two, 2, out), 0);
    CHECK_STR(hex(out, sizeof(out)), want);
}

/* RFC 7914 §11 for SHA-256; the widely published vectors for SHA-512. */
TEST(pbkdf2_vectors)
{
    static const struct {
        enum bt_pbkdf2 kind;
        const char *password, *salt;
        uint32_t iterations;
        const char *want;
    } rows[] = {
        { BT_PBKDF2_SHA256, "passwd", "salt", 1,
          "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
          "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783" },
        { BT_PBKDF2_SHA512, "password", "salt", 1,
          "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252"
          "c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce" },
        { BT_PBKDF2_SHA512, "password", "salt", 2,
          "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c"
          "f76cab2868a39b9f7840edce4fef5a82be67335c77a6068e04112754f27ccf4e" },
        { BT_PBKDF2_SHA512, "password", "salt", 4096,
          "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5"
          "143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct bt_pbkdf2_in in = { rows[i].kind, str(rows[i].password),
                                         str(rows[i].salt), rows[i].iterations };
        uint8_t out[64];

        CHECK_INT(bt_pbkdf2(&in, out, sizeof(out)), 0);
        CHECK_STR(hex(out, sizeof(out)), rows[i].want);
    }
}

TEST(base64_of_rfc_4648_both_ways)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_slice plain = str(rows[i][0]), text = str(rows[i][1]);
        char coded[16];
        uint8_t back[8];
        size_t n = 99;

        CHECK_INT(bt_base64_encode(plain, coded, sizeof(coded)), text.len);
        CHECK_STR(coded, rows[i][1]);
        CHECK_INT(bt_base64_decode(text, back, sizeof(back), &n), 0);
        CHECK_INT(n, plain.len);
        CHECK_MEM(back, plain.ptr, n);
        while (text.len > 0 && text.ptr[text.len - 1] == '=')
            text.len--;
        CHECK_INT(bt_base64_decode(text, back, sizeof(back), &n), 0);
        CHECK_INT(n, plain.len);
    }
}

TEST(base64_random_bytes_come_back)
{
    for (int round = 0; round < 500; round++) {
        uint8_t in[70], out[70];
        char text[BT_BASE64_ROOM(sizeof(in))];
        size_t n = (size_t)(test_random() % sizeof(in)), len = 0, got;

        for (size_t i = 0; i < n; i++)
            in[i] = (uint8_t)test_random();
        got = bt_base64_encode((struct bt_slice){ in, n }, text, sizeof(text));
        CHECK_INT(got, strlen(text));
        CHECK_INT(bt_base64_decode(str(text), out, sizeof(out), &len), 0);
        CHECK_INT(len, n);
        CHECK_MEM(in, out, n);
    }
}

TEST(equality_sees_every_byte)
{
    uint8_t a[33] = { 0 }, b[33] = { 0 };

    CHECK(bt_ct_equal(a, b, sizeof(a)));
    CHECK(bt_ct_equal(NULL, NULL, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 0x80;
        CHECK(!bt_ct_equal(a, b, sizeof(a)));
        b[i] = 0;
    }
    a[5] = 7;
    bt_wipe(a, sizeof(a));
    CHECK(bt_ct_equal(a, b, sizeof(a)));
}

/* Fails. */

TEST(base64_that_is_none)
{
    static const char *const bad[] = { "A",     "A===", "=",    "====",  "Zg=",
                                       "Zm9v=", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n",
                                       "Zm-_",  "Z=g=", "Zm9vA" };
    uint8_t out[16];
    size_t n;

    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        CHECK_INT(bt_base64_decode(str(bad[i]), out, sizeof(out), &n), BT_EINVAL);
    CHECK_INT(bt_base64_decode(str("Zm9v"), out, 2, &n), BT_ELIMIT);
}

TEST(pbkdf2_without_work)
{
    struct bt_pbkdf2_in in = { .password = str("p"), .salt = str("s") };
    uint8_t out[8];

    CHECK_INT(bt_pbkdf2(&in, out, sizeof(out)), BT_EINVAL);
    in.iterations = 1;
    CHECK_INT(bt_pbkdf2(&in, out, 0), BT_EINVAL);
}
