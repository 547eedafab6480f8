/* The command line: the table of commands and options read by tables, so that parsing and
 * help come from the same rows. Main thread, before any other thread runs. */
#ifndef CORE_CLI_H
#define CORE_CLI_H

#include "core/base.h"

/* Exit statuses of every command; docs/cli.md says more. */
enum bt_cli_exit {
    BT_CLI_OK = 0, /* done, or stopped by a signal */
    BT_CLI_FAILED =
        1, /* the configuration is wrong, or something could not start or broke */
    BT_CLI_USAGE = 2,  /* the command line is wrong */
    BT_CLI_FORCED = 3, /* a second signal, or the time to stop ran out */
    BT_CLI_BUSY = 4,   /* another instance runs in the working directory */
};

enum bt_cli_kind {
    BT_CLI_FLAG,    /* bool; set to true */
    BT_CLI_STRING,  /* const char *, borrowed from argv */
    BT_CLI_STRINGS, /* struct bt_cli_strings; each use adds one */
    BT_CLI_U32,     /* uint32_t, in [min, max]; max 0 = UINT32_MAX */
    BT_CLI_MS,      /* int64_t milliseconds, written as in the configuration */
    BT_CLI_BYTES,   /* uint64_t bytes, written as in the configuration */
};

#define BT_CLI_MAX_STRINGS 64u
struct bt_cli_strings {
    const char *items[BT_CLI_MAX_STRINGS];
    size_t n;
};

struct bt_cli_opt {
    const char *name; /* long, without dashes; or NULL */
    char letter;      /* short; or 0 */
    enum bt_cli_kind kind;
    size_t offset;    /* in the caller's struct */
    const char *arg;  /* what the value is called in the help: "FILE" */
    const char *help; /* one sentence; NULL hides the option */
    uint32_t min, max;
};

#define BT_CLI_CTYPE_FLAG    bool
#define BT_CLI_CTYPE_STRING  const char *
#define BT_CLI_CTYPE_STRINGS struct bt_cli_strings
#define BT_CLI_CTYPE_U32     uint32_t
#define BT_CLI_CTYPE_MS      int64_t
#define BT_CLI_CTYPE_BYTES   uint64_t
/* BT_CLI_OPT(struct x, "config", 'c', STRING, config, "FILE", "Sentence.", .min = 1) does
 * not build when the member's type does not fit the kind. */
#define BT_CLI_OPT(type, name_, letter_, kind_, member_, arg_, help_, ...) \
    {                                                                      \
        .name = (name_), .letter = (letter_), .kind = BT_CLI_##kind_,      \
        .offset = _Generic(((type *)0)->member_, BT_CLI_CTYPE_##kind_      \
                           : offsetof(type, member_)),                     \
        .arg = (arg_), .help = (help_), __VA_ARGS__                        \
    }

/* One command as its help shows it. */
struct bt_cli_usage {
    const char *name;  /* "start" */
    const char *args;  /* what may follow the options, or "" */
    const char *about; /* sentences, wrapped by hand at 80 columns */
    const struct bt_cli_opt *opts;
    size_t n_opts;
};

/* A row of the table in core/main.c. argv[0] is the command's name. run returns the exit
 * status. */
struct bt_cli_command {
    const char *name;
    const char *help; /* one sentence without a full stop; NULL hides it from the list */
    int (*run)(int argc, char **argv);
};

#define BT_CLI_DONE (-1)
#define BT_CLI_BAD  (-2)
/* Read the options of argv[1..] into obj (the caller has put the defaults there).
 * Accepted are `--name value`, `--name=value`, `-n value`,
 * `-nvalue`, joined flags `-ab`, and `--` before the first argument. `--help` prints the
 * usage. Returns the index of the first argument that is no option (argc when there is
 * none); BT_CLI_DONE after the help: exit BT_CLI_OK; BT_CLI_BAD after saying on standard
 * error what is wrong: exit BT_CLI_USAGE. */
int bt_cli_parse(const struct bt_cli_usage *usage, int argc, char **argv,
                 void *obj) BT_MUST_CHECK;
/* The exit status for a negative result of bt_cli_parse. */
int bt_cli_status(int parsed);
/* Say that an argument is wrong, with the hint to the help; returns BT_CLI_USAGE. */
int bt_cli_complain(const struct bt_cli_usage *usage, const char *fmt, ...)
    BT_PRINTF(2, 3);
/* Run argv[1] out of the commands. */
int bt_cli_run(const struct bt_cli_command *cmds, size_t n, int argc, char **argv);

/* The commands. */
int bt_cmd_start(int argc, char **argv);
int bt_cmd_check(int argc, char **argv);
int bt_cmd_config(int argc, char **argv);
int bt_cmd_version(int argc, char **argv);
int bt_cmd_why(int argc, char **argv);
int bt_cmd_clients(int argc, char **argv);
int bt_cmd_call(int argc, char **argv);
int bt_cmd_functions(int argc, char **argv);
int bt_cmd_metrics(int argc, char **argv);
int bt_cmd_passwd(int argc, char **argv);
int bt_cmd_pub(int argc, char **argv);
int bt_cmd_sub(int argc, char **argv);

/* Which process a command asks; for options with `workdir` and `socket`. */
#define BT_CLI_SOCKET_OPTS(type)                                               \
    BT_CLI_OPT(type, "workdir", 'w', STRING, workdir, "DIR",                   \
               "Working directory of the process; default: the current one."), \
        BT_CLI_OPT(type, "socket", 0, STRING, socket, "FILE",                  \
                   "Its control socket; default: " BT_API_SOCKET ".")

#endif
