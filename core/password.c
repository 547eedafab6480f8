/* Stored passwords. A text is a row of fields between $ signs; a table says which form a
 * text has. A text that looks like a hash but cannot be checked is never taken for a
 * plain password: somebody who reads the file could log in with it.
 *
 * Failure modes: no memory or no random numbers; a check then says no. */
#include "core/password.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/sys.h"

#define SALT_LEN 16u
#define HASH_LEN 64u

static const struct form {
    const char *prefix;
    enum bt_pbkdf2 kind;
    const char *iterations; /* what stands before their number */
    bool known;
} forms[] = {
    { "$pbkdf2-sha512$", BT_PBKDF2_SHA512, "i=", true },
    { "$pbkdf2-sha256$", BT_PBKDF2_SHA256, "i=", true },
    { "$7$", BT_PBKDF2_SHA512, "", true },
    { "$pbkdf2", BT_PBKDF2_SHA512, NULL, false },
    { "$argon2", BT_PBKDF2_SHA512, NULL, false },
    { "$scrypt$", BT_PBKDF2_SHA512, NULL, false },
    { "$1$", BT_PBKDF2_SHA512, NULL, false },
    { "$5$", BT_PBKDF2_SHA512, NULL, false },
    { "$6$", BT_PBKDF2_SHA512, NULL, false },
    { "$2a$", BT_PBKDF2_SHA512, NULL, false },
    { "$2b$", BT_PBKDF2_SHA512, NULL, false },
    { "$2y$", BT_PBKDF2_SHA512, NULL, false },
    { "$y$", BT_PBKDF2_SHA512, NULL, false },
};

static const struct form *form_of(const char *text)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(forms); i++)
        if (strncmp(text, forms[i].prefix, strlen(forms[i].prefix)) == 0)
            return &forms[i];
    return NULL;
}

/* The field at *at, up to the next $ or the end; *at moves behind it. */
static struct bt_slice field(const char **at)
{
    size_t n = strcspn(*at, "$");
    struct bt_slice out = { (const uint8_t *)*at, n };

    *at += n;
    *at += **at == '$';
    return out;
}

static bool number(struct bt_slice s, uint32_t *out)
{
    uint32_t v = 0;

    if (s.len == 0 || s.len > 8 || s.ptr[0] == '0')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    *out = v;
    return v <= BT_PASSWORD_MAX_ITERATIONS;
}

static bool bytes(struct bt_slice text, uint8_t *to, size_t least, uint8_t *len)
{
    size_t n = 0;

    if (bt_base64_decode(text, to, 64, &n) != 0 || n < least)
        return false;
    *len = (uint8_t)n;
    return true;
}

int bt_password_parse(const char *text, struct bt_password *out)
{
    const struct form *form = form_of(text);
    struct bt_password p = { 0 };
    struct bt_slice iterations, salt, hash;

    if (form == NULL)
        return BT_PASSWORD_PLAIN;
    if (!form->known)
        return BT_PASSWORD_UNKNOWN;
    text += strlen(form->prefix);
    if (strncmp(text, form->iterations, strlen(form->iterations)) != 0)
        return BT_PASSWORD_BAD;
    text += strlen(form->iterations);
    iterations = field(&text);
    p.kind = form->kind;
    salt = field(&text);
    hash = (struct bt_slice){ (const uint8_t *)text, strlen(text) };
    /* Less salt or hash than this would be worth nothing. */
    if (!number(iterations, &p.iterations) || !bytes(salt, p.salt, 8, &p.salt_len) ||
        !bytes(hash, p.hash, 16, &p.hash_len))
        return BT_PASSWORD_BAD;
    *out = p;
    return 0;
}

bool bt_password_check(const struct bt_password *p, struct bt_slice given)
{
    const struct bt_pbkdf2_in in = {
        p->kind, given, { p->salt, p->salt_len }, p->iterations
    };
    uint8_t hash[64] = { 0 };
    bool good =
        bt_pbkdf2(&in, hash, p->hash_len) == 0 && bt_ct_equal(hash, p->hash, p->hash_len);

    bt_wipe(hash, sizeof(hash));
    return good;
}

/* Base64 without padding, as the PHC string format has it. */
static void encode(const uint8_t *p, size_t n, char *out, size_t room)
{
    size_t len = bt_base64_encode((struct bt_slice){ p, n }, out, room);

    while (len > 0 && out[len - 1] == '=')
        out[--len] = '\0';
}

int bt_password_make(struct bt_slice password, uint32_t iterations,
                     char out[BT_PASSWORD_TEXT])
{
    uint8_t salt[SALT_LEN], hash[HASH_LEN];
    char salt_text[BT_BASE64_ROOM(SALT_LEN)], hash_text[BT_BASE64_ROOM(HASH_LEN)];
    struct bt_pbkdf2_in in = {
        BT_PBKDF2_SHA512, password, { salt, sizeof(salt) }, iterations
    };
    int r;

    if (password.len == 0 || password.len > BT_PASSWORD_MAX || iterations == 0 ||
        iterations > BT_PASSWORD_MAX_ITERATIONS)
        return BT_EINVAL;
    if (bt_sys_random(salt, sizeof(salt)) != 0)
        return bt_origin(BT_EIO, "no random bytes for a salt");
    r = bt_pbkdf2(&in, hash, sizeof(hash));
    if (r != 0)
        return r;
    encode(salt, sizeof(salt), salt_text, sizeof(salt_text));
    encode(hash, sizeof(hash), hash_text, sizeof(hash_text));
    (void)snprintf(out, BT_PASSWORD_TEXT, "$pbkdf2-sha512$i=%u$%s$%s",
                   (unsigned)iterations, salt_text, hash_text);
    return 0;
}
