/* Hashes over mbedTLS. The one-shot hashes cannot fail: they allocate nothing and their
 * input is always valid. The keyed ones allocate their state and can be out of memory. */
#include "core/hash.h"

#include <string.h>

#include "core/error.h"
#include <mbedtls/base64.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha1.h>
#include <mbedtls/sha256.h>

/* mbedTLS wants a pointer even for no bytes. */
static const uint8_t *bytes_of(struct bt_slice s)
{
    static const uint8_t none;

    return s.ptr != NULL ? s.ptr : &none;
}

void bt_sha1(struct bt_slice data, uint8_t out[BT_SHA1_LEN])
{
    (void)mbedtls_sha1(bytes_of(data), data.len, out);
}

void bt_sha256(struct bt_slice data, uint8_t out[BT_SHA256_LEN])
{
    (void)mbedtls_sha256(bytes_of(data), data.len, out, 0);
}

int bt_hmac_sha256(struct bt_slice key, const struct bt_slice *parts, size_t n_parts,
                   uint8_t out[BT_SHA256_LEN])
{
    mbedtls_md_context_t md;
    int r;

    mbedtls_md_init(&md);
    r = mbedtls_md_setup(&md, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1);
    if (r == 0)
        r = mbedtls_md_hmac_starts(&md, bytes_of(key), key.len);
    for (size_t i = 0; r == 0 && i < n_parts; i++)
        r = mbedtls_md_hmac_update(&md, bytes_of(parts[i]), parts[i].len);
    if (r == 0)
        r = mbedtls_md_hmac_finish(&md, out);
    mbedtls_md_free(&md);
    return r == 0 ? 0 : BT_ENOMEM;
}

int bt_pbkdf2(const struct bt_pbkdf2_in *in, uint8_t *out, size_t out_len)
{
    mbedtls_md_type_t type =
        in->kind == BT_PBKDF2_SHA256 ? MBEDTLS_MD_SHA256 : MBEDTLS_MD_SHA512;
    int r;

    if (in->iterations == 0 || out_len == 0 || out_len > UINT32_MAX)
        return BT_EINVAL;
    r = mbedtls_pkcs5_pbkdf2_hmac_ext(type, bytes_of(in->password), in->password.len,
                                      bytes_of(in->salt), in->salt.len, in->iterations,
                                      (uint32_t)out_len, out);
    return r == 0 ? 0 : BT_ENOMEM;
}

size_t bt_base64_encode(struct bt_slice data, char *out, size_t room)
{
    size_t n = 0;

    if (mbedtls_base64_encode((unsigned char *)out, room, &n, bytes_of(data), data.len) !=
        0)
        n = 0;
    if (room > 0)
        out[n] = '\0';
    return n;
}

static int digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int bt_base64_decode(struct bt_slice text, uint8_t *out, size_t room, size_t *len)
{
    size_t n = text.len, used = 0;
    uint32_t bits = 0;
    unsigned n_bits = 0;

    if (n % 4 == 0)
        for (int pad = 0; pad < 2 && n > 0 && text.ptr[n - 1] == '='; pad++)
            n--;
    if (n % 4 == 1)
        return BT_EINVAL;
    for (size_t i = 0; i < n; i++) {
        int d = digit(text.ptr[i]);

        if (d < 0)
            return BT_EINVAL;
        bits = bits << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        if (used == room)
            return BT_ELIMIT;
        out[used++] = (uint8_t)(bits >> n_bits);
        bits &= (1u << n_bits) - 1;
    }
    if (bits != 0)
        return BT_EINVAL;
    *len = used;
    return 0;
}

bool bt_ct_equal(const void *a, const void *b, size_t n)
{
    return n == 0 || mbedtls_ct_memcmp(a, b, n) == 0;
}

void bt_wipe(void *p, size_t n)
{
    if (n > 0)
        mbedtls_platform_zeroize(p, n);
}
