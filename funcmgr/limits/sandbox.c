/* Which files a sandboxed function sees.
 *
 * Readable: its code, the interpreter and the libraries of the system, the few files of
 * /etc that programs need to find names, certificates and the time zone, what /proc says
 * about itself and the machine. Writable: its data folder, /dev/null and the like. Plus
 * what the configuration adds. A rule set is made for every instance, because each adds
 * its own folder of /proc.
 *
 * Failure: a kernel without Landlock, a folder that is not there: the function manager
 * does not start; a sandbox that was asked for is never left out. */
#include "funcmgr/limits/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/landlock.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/process/interp.h"

/* Below /usr, /usr/local and where an interpreter is installed. Not all of it: the
 * process itself may be there, with its configuration and its messages. */
static const char *const prefix_read[] = { "bin",   "sbin",    "lib",   "lib32",
                                           "lib64", "libexec", "share", "include" };
/* Certificates, but not the keys beside them. */
static const char *const system_read[] = {
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/protocols",
    "/run/systemd/resolve",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/filesystems",
    "/proc/sys",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
};
static const char *const system_use[] = { "/dev/null", "/dev/zero", "/dev/full",
                                          "/dev/random", "/dev/urandom" };

static char *absolute(const struct fm_limits *l, const char *path)
{
    struct bt_buf text bt_cleanup(bt_buf_deinit) = { 0 };

    if (path[0] == '/')
        return bt_strdup(path);
    return bt_buf_printf(&text, "%s/%s", l->work_dir, path) == 0 ? bt_buf_steal_str(&text)
                                                                 : NULL;
}

static int refuse(const struct fm_limits *l, const char *path, const char *what)
{
    bt_log(BT_LOG_ERROR, "FUNC-SANDBOX", "a function's sandbox cannot be made",
           "function=%s path=" BT_LOG_Q " reason=\"%s: %s\"", l->conf->name, path, what,
           strerror(errno)); /* NOLINT(concurrency-mt-unsafe): both libcs' is safe */
    return BT_ECONF;
}

static int allow(const struct fm_limits *l, int fd, const char *path,
                 enum bt_landlock_access access)
{
    char *full bt_cleanup(bt_freep) = absolute(l, path);

    if (full == NULL)
        return BT_ENOMEM;
    return bt_landlock_allow(fd, full, access) == 0
               ? 0
               : refuse(l, full, "it cannot be opened to the function");
}

static int allow_list(const struct fm_limits *l, int fd,
                      const struct bt_conf_strings *list, enum bt_landlock_access access)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < list->n; i++)
        r = allow(l, fd, list->items[i], access);
    return r;
}

/* Not every machine has them all. */
static void allow_prefix(int fd, const char *prefix)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < BT_ARRAY_LEN(prefix_read); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", prefix, prefix_read[i]);
        (void)!bt_landlock_allow(fd, path, BT_LANDLOCK_READ);
    }
}

/* /opt/python/bin/python3 brings /opt/python/bin, /opt/python/lib and so on; an
 * interpreter that lies alone brings its own folder; a program of exec only itself. */
static int allow_interpreter(const struct fm_limits *l, int fd)
{
    char *path = l->interp != NULL ? realpath(l->interp->path, NULL) : NULL;
    char *end;
    int r = 0;

    if (path == NULL)
        return 0;
    end = strrchr(path, '/');
    if (l->interp->language == FM_N_LANGUAGES) {
        r = allow(l, fd, path, BT_LANDLOCK_READ);
    } else if (end != NULL && end != path) {
        *end = '\0';
        end = strrchr(path, '/');
        if (end != NULL && strcmp(end, "/bin") == 0) {
            *end = '\0';
            allow_prefix(fd, path);
        } else {
            r = allow(l, fd, path, BT_LANDLOCK_READ);
        }
    }
    free(path); /* NOLINT: realpath's own */
    return r;
}

static void allow_system(int fd)
{
    allow_prefix(fd, "/usr");
    allow_prefix(fd, "/usr/local");
    for (size_t i = 0; i < BT_ARRAY_LEN(system_read); i++)
        (void)!bt_landlock_allow(fd, system_read[i], BT_LANDLOCK_READ);
    for (size_t i = 0; i < BT_ARRAY_LEN(system_use); i++)
        (void)!bt_landlock_allow(fd, system_use[i], BT_LANDLOCK_USE);
}

int fm_sandbox_rules(const struct fm_limits *l)
{
    int fd = bt_landlock_new(), r;

    if (fd < 0) {
        (void)refuse(l, "", "no rule set");
        return -1;
    }
    allow_system(fd);
    r = allow_interpreter(l, fd);
    if (r == 0)
        r = allow(l, fd, l->conf->codedir, BT_LANDLOCK_READ);
    if (r == 0)
        r = allow_list(l, fd, &l->conf->sandbox.read, BT_LANDLOCK_READ);
    if (r == 0)
        r = allow_list(l, fd, &l->conf->sandbox.write, BT_LANDLOCK_WRITE);
    if (r == 0 && l->data_dir != NULL)
        r = allow(l, fd, l->data_dir, BT_LANDLOCK_WRITE);
    if (r == 0)
        return fd;
    close(fd);
    return -1;
}

/* As mkdir -p; the last folder is given to the function's user. */
static int make_data(const struct fm_limits *l)
{
    char *path bt_cleanup(bt_freep) = bt_strdup(l->data_dir);

    if (path == NULL)
        return BT_ENOMEM;
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return refuse(l, path, "the data folder cannot be made");
        *p = '/';
    }
    if (mkdir(path, 0750) == 0) {
        if (l->user.set && chown(path, l->user.uid, l->user.gid) != 0)
            return refuse(l, path, "the data folder cannot be given to its user");
    } else if (errno != EEXIST) {
        return refuse(l, path, "the data folder cannot be made");
    }
    return 0;
}

int fm_sandbox_init(struct fm_limits *l)
{
    const struct fm_sandbox_conf *c = &l->conf->sandbox;
    int fd, r = 0;

    if (c->data != NULL) {
        l->data_dir = absolute(l, c->data);
        r = l->data_dir != NULL ? make_data(l) : BT_ENOMEM;
    }
    if (r != 0 || !c->enable)
        return r;
    if (bt_landlock_abi() == 0) {
        bt_log(BT_LOG_ERROR, "FUNC-SANDBOX", "a function's sandbox cannot be made",
               "function=%s reason=\"this kernel has no Landlock, or it is switched off "
               "(Linux 5.13, lsm=landlock)\"",
               l->conf->name);
        return BT_ECONF;
    }
    l->sandboxed = true;
    fd = fm_sandbox_rules(l);
    if (fd < 0)
        return BT_ECONF;
    close(fd);
    return 0;
}
