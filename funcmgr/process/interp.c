/* Interpreters by name. A name stands for one or more programs, tried in order in every
 * folder of PATH. A program that is a script (version managers put such wrappers first in
 * PATH; they start a shell or two) is taken only when there is no real one.
 *
 * Failure: nothing found; the caller gets a text that says which names were looked for
 * and where. */
#include "funcmgr/process/interp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"

#define MAX_CANDIDATES 3
#define MAX_PATH       4096
#define NAME_SIZE      16

struct alias {
    const char *runtime;
    enum fm_language language;
    const char *programs[MAX_CANDIDATES];
};

/* A name that is not here is the program's own name. */
static const struct alias aliases[] = {
    { "python", FM_PYTHON, { "python3", "python", "python2" } },
    { "python2", FM_PYTHON, { "python2", "python2.7", NULL } },
    { "python27", FM_PYTHON, { "python2.7", "python2", NULL } },
    { "python36", FM_PYTHON, { "python3.6", "python3", NULL } },
    { "node", FM_NODE, { "node", "nodejs", NULL } },
};

static bool language_of(const char *program, enum fm_language *out)
{
    const char *base = strrchr(program, '/');

    base = base != NULL ? base + 1 : program;
    if (strncmp(base, "python", 6) == 0 || strncmp(base, "pypy", 4) == 0)
        *out = FM_PYTHON;
    else if (strncmp(base, "node", 4) == 0)
        *out = FM_NODE;
    else
        return false;
    return true;
}

/* The original's names of runtimes: python36 is python3.6, and if that is not there, the
 * Python 3 there is. The text is kept in `name`. */
static bool python_digits(const char *runtime, struct alias *own, char name[NAME_SIZE])
{
    const char *digits;
    size_t n;

    if (strncmp(runtime, "python", 6) != 0)
        return false;
    digits = runtime + 6;
    n = strspn(digits, "0123456789");
    if (n < 2 || n > 3 || digits[n] != '\0')
        return false;
    snprintf(name, NAME_SIZE, "python%c.%s", digits[0], digits + 1);
    own->programs[0] = name;
    own->programs[1] = digits[0] == '3' ? "python3" : NULL;
    return true;
}

/* nodeNN also means: the node there is. */
static struct alias candidates(const char *runtime, char name[NAME_SIZE])
{
    struct alias own = { .runtime = runtime, .programs = { runtime, NULL, NULL } };

    for (size_t i = 0; i < BT_ARRAY_LEN(aliases); i++) {
        if (strcmp(aliases[i].runtime, runtime) == 0)
            return aliases[i];
    }
    if (!python_digits(runtime, &own, name) && strncmp(runtime, "node", 4) == 0) {
        own.programs[1] = "node";
        own.programs[2] = "nodejs";
    }
    return own;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool is_script(const char *path)
{
    char head[2] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof(head)) : 0;

    if (fd >= 0)
        close(fd);
    return n == 2 && head[0] == '#' && head[1] == '!';
}

/* Search all folders for one program. */
static bool search_program(const char *program, const char *search, bool scripts,
                           char path[MAX_PATH])
{
    while (*search != '\0') {
        size_t len = strcspn(search, ":");
        int n = snprintf(path, MAX_PATH, "%.*s/%s", (int)len, search, program);

        if (len > 0 && search[0] == '/' && n > 0 && n < MAX_PATH && is_program(path) &&
            is_script(path) == scripts)
            return true;
        search += len + (search[len] == ':');
    }
    return false;
}

static bool search_all(const struct alias *a, const char *search, char path[MAX_PATH])
{
    for (int scripts = 0; scripts <= 1; scripts++) {
        for (size_t i = 0; i < MAX_CANDIDATES && a->programs[i] != NULL; i++) {
            if (search_program(a->programs[i], search, scripts != 0, path))
                return true;
        }
    }
    return false;
}

static int not_found(const struct alias *a, const char *search, struct bt_buf *why)
{
    int r = bt_buf_printf(why, "no program");

    for (size_t i = 0; r == 0 && i < MAX_CANDIDATES && a->programs[i] != NULL; i++)
        r = bt_buf_printf(why, "%s %s", i > 0 ? " or" : "", a->programs[i]);
    if (r == 0)
        r = bt_buf_printf(why, " in the folders of PATH: %s", search);
    return r != 0 ? r : BT_EINVAL;
}

static int found(const char *path, enum fm_language language, struct fm_interp *out)
{
    out->language = language;
    out->path = bt_strdup(path);
    return out->path != NULL ? 0 : BT_ENOMEM;
}

int fm_interp_find(const char *runtime, const char *search, struct fm_interp *out,
                   struct bt_buf *why)
{
    char name[NAME_SIZE];
    struct alias a = candidates(runtime, name);
    char path[MAX_PATH];
    int r;

    *out = (struct fm_interp){ 0 };
    if (!language_of(runtime, &a.language)) {
        r = bt_buf_printf(
            why,
            "\"%s\" is not a runtime: expected python, python2, "
            "python3, python3.x, python3x, node, nodeNN, the absolute path of "
            "such a program, sql or exec",
            runtime);
        return r != 0 ? r : BT_EINVAL;
    }
    if (runtime[0] == '/') {
        if (is_program(runtime))
            return found(runtime, a.language, out);
        r = bt_buf_printf(why, "%s is not a program that can be run", runtime);
        return r != 0 ? r : BT_EINVAL;
    }
    if (strchr(runtime, '/') != NULL) {
        r = bt_buf_printf(why, "\"%s\": a path must be absolute", runtime);
        return r != 0 ? r : BT_EINVAL;
    }
    if (!search_all(&a, search, path))
        return not_found(&a, search, why);
    return found(path, a.language, out);
}

int fm_interp_lookup(const char *runtime, struct fm_interp *out, struct bt_buf *why)
{
    const char *path = getenv("PATH");

    return fm_interp_find(runtime, path != NULL ? path : "/usr/bin:/bin", out, why);
}

bool fm_interp_is_exec(const char *runtime)
{
    return runtime != NULL && strcmp(runtime, "exec") == 0;
}

/* The text of what is wrong with a program; NULL: nothing. */
static const char *program_problem(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return strerror(errno); /* NOLINT(concurrency-mt-unsafe): both libcs' is safe */
    if (!S_ISREG(st.st_mode))
        return "it is no file";
    if (access(path, X_OK) != 0)
        return "it is not executable (chmod +x)";
    return NULL;
}

static int find_program(const struct fm_function_conf *c, const char *work_dir,
                        struct fm_interp *out, struct bt_buf *why)
{
    struct bt_buf path bt_cleanup(bt_buf_deinit) = { 0 };
    const char *problem;
    int r = 0;

    *out = (struct fm_interp){ .language = FM_PROGRAM, .args = &c->args };
    if (c->handler[0] != '/' && c->codedir[0] != '/' && work_dir != NULL)
        r = bt_buf_printf(&path, "%s/", work_dir);
    if (r == 0 && c->handler[0] != '/')
        r = bt_buf_printf(&path, "%s/", c->codedir);
    if (r == 0)
        r = bt_buf_append_str(&path, c->handler);
    out->path = r == 0 ? bt_buf_steal_str(&path) : NULL;
    if (out->path == NULL)
        return BT_ENOMEM;
    problem = program_problem(out->path);
    if (problem == NULL)
        return 0;
    r = bt_buf_printf(why, "the program %s cannot be run: %s", out->path, problem);
    fm_interp_deinit(out);
    return r != 0 ? r : BT_EINVAL;
}

int fm_interp_of(const struct fm_function_conf *c, const char *work_dir,
                 struct fm_interp *out, struct bt_buf *why)
{
    return fm_interp_is_exec(c->runtime) ? find_program(c, work_dir, out, why)
                                         : fm_interp_lookup(c->runtime, out, why);
}

int fm_interp_absent(const char *runtime, const struct bt_buf *why, struct fm_interp *out)
{
    *out = (struct fm_interp){ .path = bt_strdup(runtime) };
    (void)language_of(runtime, &out->language);
    out->missing = bt_strndup(why->data, why->len);
    if (out->path != NULL && out->missing != NULL)
        return 0;
    fm_interp_deinit(out);
    return BT_ENOMEM;
}

void fm_interp_deinit(struct fm_interp *interp)
{
    bt_free(interp->path);
    bt_free(interp->missing);
    interp->path = interp->missing = NULL;
}

/* Python: no environment, no user's packages, no slow site files (the runtime loads those
 * when an import needs them), and only the first part of the source is compiled. Node:
 * `-e`, because a script by descriptor needs options that differ between versions. */
static const char *const args[FM_N_LANGUAGES][8] = {
    [FM_PYTHON] = { "-E", "-s", "-S", "-c",
                    "s=open('/proc/self/fd/5','rb').read().split(b'\\n#-#\\n');MORE=s[1];"
                    "exec(compile(s[0],'runtime.py','exec'))",
                    NULL },
    [FM_NODE] = { "-e",
                  "require('vm').runInThisContext(require('fs').readFileSync("
                  "'/proc/self/fd/5','utf8'),{filename:'runtime.js'})"
                  "(require,m=>eval('import(m)'))",
                  NULL },
};

void fm_interp_argv(const struct fm_interp *interp, char *argv[FM_INTERP_ARGS])
{
    size_t n = 0;

    argv[n++] = interp->path;
    if (interp->language == FM_PROGRAM) {
        for (size_t i = 0; i < interp->args->n; i++)
            argv[n++] = interp->args->items[i];
        argv[n] = NULL;
        return;
    }
    for (const char *const *p = args[interp->language]; *p != NULL; p++)
        argv[n++] = (char *)(uintptr_t)*p;
    argv[n] = NULL;
}
