/* `baetyl passwd`: a password read from the terminal (twice, without echo) or from
 * standard input becomes a hash for the configuration. The password is wiped from memory
 * and shown nowhere. Failure modes: an empty, an overlong or a mistyped password: exit
 * 1. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/cli.h"
#include "core/error.h"
#include "core/password.h"

struct options {
    uint32_t iterations;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct options, "iterations", 'i', U32, iterations, "N",
               "Rounds of PBKDF2; more make guessing and logging in slower. The default "
               "is 100000.",
               .min = 1, .max = BT_PASSWORD_MAX_ITERATIONS),
};
_Static_assert(BT_PASSWORD_ITERATIONS == 100000, "the help names the default");
static const struct bt_cli_usage usage = {
    .name = "passwd",
    .args = "[USER]",
    .about =
        "Make a hash of a password for `principals` in the configuration. The password\n"
        "is asked for on a terminal, or read as one line from standard input. With\n"
        "USER the entry of the list is printed, else the hash alone.",
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts),
};

/* A password being typed; one byte more shows that it was too long. */
struct typed {
    char text[BT_PASSWORD_MAX + 2];
    size_t len;
};

/* One line. False at the end of the input, or when it is too long. */
static bool read_line(struct typed *out)
{
    int c;

    out->len = 0;
    while ((c = getchar()) != EOF && c != '\n') {
        if (out->len > BT_PASSWORD_MAX)
            return false;
        out->text[out->len++] = (char)c;
    }
    return out->len <= BT_PASSWORD_MAX && (out->len > 0 || c != EOF);
}

static bool ask(const char *prompt, struct typed *out)
{
    struct termios before, quiet;
    bool changed = tcgetattr(STDIN_FILENO, &before) == 0, ok;

    if (changed) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        changed = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
    }
    fputs(prompt, stderr);
    ok = read_line(out);
    if (changed)
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return ok;
}

/* NULL, or what is wrong. */
static const char *get_password(struct typed *out)
{
    static const char bad[] = "a password of 1 to 1024 bytes was expected";
    struct typed again;
    bool same;

    if (isatty(STDIN_FILENO) == 0)
        return read_line(out) && out->len > 0 ? NULL : bad;
    if (!ask("Password: ", out) || out->len == 0)
        return bad;
    same = ask("Again: ", &again) && again.len == out->len &&
           bt_ct_equal(again.text, out->text, out->len);
    bt_wipe(&again, sizeof(again));
    return same ? NULL : "the two are not the same";
}

static void print(const char *user, const char *hash)
{
    if (user == NULL) {
        puts(hash);
        return;
    }
    fputs("- username: '", stdout);
    for (; *user != '\0'; user++)
        fputs(*user == '\'' ? "''" : (const char[]){ *user, '\0' }, stdout);
    printf("'\n  password: '%s'\n", hash);
}

int bt_cmd_passwd(int argc, char **argv)
{
    struct options o = { .iterations = BT_PASSWORD_ITERATIONS };
    int first = bt_cli_parse(&usage, argc, argv, &o), r;
    char hash[BT_PASSWORD_TEXT];
    struct typed password;
    const char *wrong;

    if (first < 0)
        return bt_cli_status(first);
    if (argc - first > 1)
        return bt_cli_complain(&usage, "unexpected \"%s\"", argv[first + 1]);
    wrong = get_password(&password);
    r = wrong != NULL ? 0
                      : bt_password_make(
                            (struct bt_slice){ (uint8_t *)password.text, password.len },
                            o.iterations, hash);
    bt_wipe(&password, sizeof(password));
    if (wrong != NULL || r != 0) {
        fprintf(stderr, "baetyl passwd: %s\n", wrong != NULL ? wrong : bt_error_text(r));
        return BT_CLI_FAILED;
    }
    print(first < argc ? argv[first] : NULL, hash);
    return fflush(stdout) == 0 ? BT_CLI_OK : BT_CLI_FAILED;
}
