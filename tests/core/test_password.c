#include "core/password.c"

#include "tests/harness.h"

static struct bt_slice str(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

#define SALT "MDEyMzQ1Njc4OWFiY2RlZg"
#define HASH                                                                   \
    "vgFvU7zWIDgDAUi7d8ayt+cfRiPWVVWfv8iQRsGZaZviWzsSNgWYXEE5PmvI/VELMsOmEbqL" \
    "z0PKuePNjOk41A"

/* Works. */

TEST(known_forms)
{
    static const struct {
        const char *text, *password;
    } rows[] = {
        { "$pbkdf2-sha512$i=1000$" SALT "$" HASH, "secret" },
        { "$pbkdf2-sha512$i=1000$" SALT "==$" HASH "==", "secret" },
        { "$pbkdf2-sha256$i=1000$" SALT "$tiKWHy4FAGCWE8gn6GtKhaxD2OeeAUUWXFT/p1aaNl8",
          "secret" },
        /* Made by mosquitto_passwd 2.0. */
        { "$7$101$cjSxdDZs6rl6uiMH$2dBOMmHucks2ciJdDdeHxVD8/i/lx3QG+JIou1f3TZyX0so4gqvZLa"
          "0AGIBWDcVoeyBO2tvqDjbDpGZhfhatXA==",
          "secr3t" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_password p;
        char wrong[16];

        CHECK_INT(bt_password_parse(rows[i].text, &p), 0);
        CHECK(bt_password_check(&p, str(rows[i].password)));
        (void)snprintf(wrong, sizeof(wrong), "%sx", rows[i].password);
        CHECK(!bt_password_check(&p, str(wrong)));
        CHECK(!bt_password_check(&p, str("")));
        CHECK(!bt_password_check(&p, (struct bt_slice){ NULL, 0 }));
    }
}

TEST(what_is_made_can_be_checked_and_differs)
{
    char a[BT_PASSWORD_TEXT], b[BT_PASSWORD_TEXT];
    struct bt_password p;

    CHECK_INT(bt_password_make(str("p\xc3\xa4ss$word"), 10, a), 0);
    CHECK_INT(bt_password_make(str("p\xc3\xa4ss$word"), 10, b), 0);
    CHECK(strcmp(a, b) != 0);
    CHECK_INT(bt_password_parse(a, &p), 0);
    CHECK_INT(p.iterations, 10);
    CHECK(bt_password_check(&p, str("p\xc3\xa4ss$word")));
    CHECK(!bt_password_check(&p, str("p\xc3\xa4ss$worD")));
}

TEST(plain_text)
{
    static const char *const rows[] = { "",   "secret",  "$ecret", "$",
                                        "$$", "7$1$a$b", "$8$" };
    struct bt_password p;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_INT(bt_password_parse(rows[i], &p), BT_PASSWORD_PLAIN);
}

/* Fails. */

TEST(damaged_hashes_are_no_plain_text)
{
    static const char *const rows[] = {
        "$pbkdf2-sha512$",
        "$pbkdf2-sha512$i=1000",
        "$pbkdf2-sha512$i=1000$" SALT,
        "$pbkdf2-sha512$i=1000$" SALT "$",
        "$pbkdf2-sha512$1000$" SALT "$" HASH,
        "$pbkdf2-sha512$i=0$" SALT "$" HASH,
        "$pbkdf2-sha512$i=01$" SALT "$" HASH,
        "$pbkdf2-sha512$i=-1$" SALT "$" HASH,
        "$pbkdf2-sha512$i=99999999$" SALT "$" HASH,
        "$pbkdf2-sha512$i=4294967297$" SALT "$" HASH,
        "$pbkdf2-sha512$i=1000$" SALT "$" HASH "$",
        "$pbkdf2-sha512$i=1000$" SALT "$" HASH "AAAA",
        "$pbkdf2-sha512$i=1000$c2FsdA$" HASH,
        "$pbkdf2-sha512$i=1000$" SALT "$c2hvcnQ",
        "$pbkdf2-sha512$i=1000$" SALT "$not base64",
        "$7$",
        "$7$101$cjSxdDZs6rl6uiMH",
        "$7$x$cjSxdDZs6rl6uiMH$2dBOMmHucks2ciJdDdeHxQ==",
    };
    struct bt_password p;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_INT(bt_password_parse(rows[i], &p), BT_PASSWORD_BAD);
}

TEST(forms_that_cannot_be_checked)
{
    static const char *const rows[] = { "$6$salt$hash", "$argon2id$v=19$m=1$a$b",
                                        "$2b$12$x", "$pbkdf2$1$a$b", "$y$j9T$x" };
    struct bt_password p;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_INT(bt_password_parse(rows[i], &p), BT_PASSWORD_UNKNOWN);
}

TEST(what_cannot_be_made)
{
    static const uint8_t big[BT_PASSWORD_MAX + 1];
    char out[BT_PASSWORD_TEXT];

    CHECK_INT(bt_password_make(str(""), 10, out), BT_EINVAL);
    CHECK_INT(bt_password_make(str("x"), 0, out), BT_EINVAL);
    CHECK_INT(bt_password_make(str("x"), BT_PASSWORD_MAX_ITERATIONS + 1, out), BT_EINVAL);
    CHECK_INT(bt_password_make((struct bt_slice){ big, sizeof(big) }, 1, out), BT_EINVAL);
}
