/* Hashes and text encodings of bytes, over mbedTLS (core/hash.c is an owner file of it).
 * No state; any thread; nothing is logged. */
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include "core/base.h"

#define BT_SHA1_LEN   20u
#define BT_SHA256_LEN 32u

/* Only for the WebSocket handshake (RFC 6455 §4.2.2), where it protects nothing. */
void bt_sha1(struct bt_slice data, uint8_t out[BT_SHA1_LEN]);
void bt_sha256(struct bt_slice data, uint8_t out[BT_SHA256_LEN]);
/* RFC 2104 over the parts joined together. A part's length is not part of the data: the
 * caller separates what must not run into each other. BT_ENOMEM. */
int bt_hmac_sha256(struct bt_slice key, const struct bt_slice *parts, size_t n_parts,
                   uint8_t out[BT_SHA256_LEN]) BT_MUST_CHECK;

/* RFC 8018 §5.2. Takes `iterations` times about a microsecond: never on a loop that
 * serves others. */
enum bt_pbkdf2 { BT_PBKDF2_SHA256, BT_PBKDF2_SHA512 };
struct bt_pbkdf2_in {
    enum bt_pbkdf2 kind;
    struct bt_slice password, salt;
    uint32_t iterations; /* at least 1 */
};
/* Fills out_len bytes. 0, BT_EINVAL for no iterations or no output, BT_ENOMEM. */
int bt_pbkdf2(const struct bt_pbkdf2_in *in, uint8_t *out, size_t out_len) BT_MUST_CHECK;

/* RFC 4648 §4, padded. Characters without the NUL that is written behind them;
 * room must be at least BT_BASE64_ROOM(n). */
#define BT_BASE64_ROOM(n) (((n) + 2) / 3 * 4 + 1)
size_t bt_base64_encode(struct bt_slice data, char *out, size_t room);
/* The standard alphabet, padded or not, nothing else; bits that encode nothing must be
 * zero, so one value has one text (with padding) or two. 0, BT_EINVAL, or BT_ELIMIT when
 * it does not fit `room`; *len is set on 0 only. */
int bt_base64_decode(struct bt_slice text, uint8_t *out, size_t room,
                     size_t *len) BT_MUST_CHECK;

/* Whether n bytes are the same, in a time that depends on n only. */
bool bt_ct_equal(const void *a, const void *b, size_t n);
/* Overwrite a secret; not removed by the compiler. */
void bt_wipe(void *p, size_t n);

#endif
