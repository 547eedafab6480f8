/* Stored passwords: what the configuration may hold instead of plain text. No state; any
 * thread. Passwords are never logged. */
#ifndef CORE_PASSWORD_H
#define CORE_PASSWORD_H

#include "core/base.h"
#include "core/hash.h"

/* Longer ones are refused, also where a password is given. */
#define BT_PASSWORD_MAX            1024u
#define BT_PASSWORD_MAX_ITERATIONS 10000000u
/* docs/decisions/0021-passwords.md says why so many. */
#define BT_PASSWORD_ITERATIONS 100000u
#define BT_PASSWORD_TEXT       256 /* room for a text from bt_password_make */

/* A salted hash, PBKDF2 with HMAC. */
struct bt_password {
    enum bt_pbkdf2 kind;
    uint32_t iterations;
    uint8_t salt_len, hash_len;
    uint8_t salt[64], hash[64];
};

#define BT_PASSWORD_PLAIN   1 /* not a hash: the text is the password */
#define BT_PASSWORD_BAD     2 /* a hash of a known form, but damaged */
#define BT_PASSWORD_UNKNOWN 3 /* a hash of a form that cannot be checked */

/* Known forms: `$pbkdf2-sha512$i=N$salt$hash`, the same with sha256, and
 * `$7$N$salt$hash` as mosquitto_passwd writes it; salt and hash in base64. 0 or
 * BT_PASSWORD_x; *out is set on 0 only. */
int bt_password_parse(const char *text, struct bt_password *out) BT_MUST_CHECK;
/* Whether `given` is the password. Takes the iterations' time, always. Out of memory:
 * false. */
bool bt_password_check(const struct bt_password *p, struct bt_slice given);
/* The text of a new hash with a random salt. BT_EINVAL for a password that is empty or
 * longer than BT_PASSWORD_MAX, or iterations out of 1..BT_PASSWORD_MAX_ITERATIONS; BT_EIO
 * without random numbers; BT_ENOMEM. */
int bt_password_make(struct bt_slice password, uint32_t iterations,
                     char out[BT_PASSWORD_TEXT]) BT_MUST_CHECK;

#endif
