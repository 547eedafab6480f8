/* The idea: fork, then only async-signal-safe calls in the child, then exec. A
 * close-on-exec pipe tells the outcome: closed by exec = it runs, an errno in it = it
 * does not. A child is registered under its process id; on SIGCHLD the main thread asks
 * for each registered id, never for "any child", so that nobody else's children are taken
 * away from them. Only after bt_child_adopt_orphans unknown children are reaped, too: the
 * kernel gives us what our children leave behind.
 *
 *   spawn (any thread): fork -> read the pipe -> register -> poke the reaper (it may be
 * over already) reap (main thread): waitid without reaping -> kill the rest of the group
 * -> waitpid -> post
 *
 * Signals go out under the registry's lock and only to ids in it: an id in the registry
 * is not yet reaped, so it cannot have become another process.
 *
 * The registry belongs to the process, as process ids do. Its mutex is taken by spawners
 * for the insertion only, never across fork.
 *
 * Failure: all before exec is reported by bt_child_spawn and leaves nothing behind. */
#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child_priv.h"
#include "core/error.h"
#include "core/list.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

#define MAX_FDS     16
#define EXEC_FAILED 127

struct child {
    struct bt_list link;
    pid_t pid;
    bool group;
    struct bt_mbox *to;
    struct bt_child_exit *on_exit;
};

static struct {
    pthread_mutex_t lock; /* guards all below */
    struct bt_list children;
    struct bt_mbox *box; /* main's, for pokes; NULL when nobody reaps */
    struct bt_msg poke;
    bool poked;
    bool adopts; /* orphans of our children become ours */
    unsigned
        expected; /* spawns and adoptions under way: an unknown child may be theirs */
    struct bt_signal on_sigchld; /* main thread only */
} reaper = { .lock = PTHREAD_MUTEX_INITIALIZER,
             .children = { &reaper.children, &reaper.children } };

/* --- in the child: async-signal-safe calls only --- */

static void fail(int report_fd)
{
    int code = errno;
    ssize_t ignored = write(report_fd, &code, sizeof(code));

    (void)ignored;
    _exit(EXEC_FAILED);
}

/* For what the parent could not tell from an errno, and when it does not wait for one:
 * the words go where the program's own would. No strerror here: it may take a lock. */
static void give_up(const struct bt_child_opts *o, int report_fd, int stderr_fd,
                    const char *what)
{
    int code = errno, n = code;
    char digits[12];
    size_t at = sizeof(digits);
    ssize_t ignored;

    digits[--at] = '\n';
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    ignored = write(stderr_fd, what, strlen(what));
    ignored = write(stderr_fd, " cannot be set up: error ", 25);
    ignored = write(stderr_fd, digits + at, sizeof(digits) - at);
    (void)ignored;
    errno = code;
    if (!o->no_wait)
        fail(report_fd);
    _exit(EXEC_FAILED);
}

/* Where descriptor 2 of the program will be, while it is not yet in its place. */
static int coming_stderr(const struct bt_child_opts *o)
{
    for (size_t i = 0; i < o->n_fds; i++)
        if (o->fds[i].target == STDERR_FILENO)
            return o->fds[i].fd;
    return STDERR_FILENO;
}

/* The parent's handlers must not run here, and what it ignores must not stay ignored. */
static void reset_signals(void)
{
    struct sigaction action;
    sigset_t none;
    int i;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (i = 1; i < NSIG; i++)
        (void)sigaction(i, &action, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The child must not outlive us; the parent may have died before the signal was armed. */
static void tie_to_parent(pid_t parent, int report_fd)
{
    if (bt_sys_pdeathsig(SIGKILL) != 0)
        fail(report_fd);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
}

static void isolate(const struct bt_child_opts *o, pid_t parent, int report_fd)
{
    if (setpgid(0, 0) != 0 || bt_sys_no_new_privs() != 0)
        fail(report_fd);
    tie_to_parent(parent, report_fd);
    if (o->confine != NULL && bt_confine_join(o->confine) != 0)
        give_up(o, report_fd, coming_stderr(o), "the control group of the process");
}

static void confine(const struct bt_child_opts *o, pid_t parent, int report_fd)
{
    const char *step;

    if (bt_confine_apply(o->confine, &step) != 0)
        give_up(o, report_fd, STDERR_FILENO, step);
    /* Another user: the kernel has forgotten the parent-death signal. */
    tie_to_parent(parent, report_fd);
}

static int above_targets(const struct bt_child_opts *o)
{
    int base = STDERR_FILENO + 1;
    size_t i;

    for (i = 0; i < o->n_fds; i++)
        base = BT_MAX(base, o->fds[i].target + 1);
    return base;
}

/* First everything moves above all targets, so that no target overwrites a source.
 * Returns where the report goes from then on. */
static int place_fds(const struct bt_child_opts *o, int report_fd)
{
    int base = above_targets(o), report = fcntl(report_fd, F_DUPFD_CLOEXEC, base);
    int moved[MAX_FDS], i, null;
    size_t n;

    if (report < 0)
        fail(report_fd);
    for (n = 0; n < o->n_fds; n++) {
        moved[n] = fcntl(o->fds[n].fd, F_DUPFD_CLOEXEC, base);
        if (moved[n] < 0)
            fail(report);
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    null = null >= 0 ? fcntl(null, F_DUPFD_CLOEXEC, base) : null;
    if (null < 0)
        fail(report);
    bt_sys_cloexec_from(0);
    for (i = 0; i <= STDERR_FILENO; i++)
        if (dup2(null, i) < 0)
            fail(report);
    for (n = 0; n < o->n_fds; n++)
        if (dup2(moved[n], o->fds[n].target) < 0)
            fail(report);
    return report;
}

static _Noreturn void run_child(const struct bt_child_opts *o, pid_t parent,
                                int report_fd)
{
    reset_signals();
    if (o->new_group)
        isolate(o, parent, report_fd);
    report_fd = place_fds(o, report_fd);
    if (o->cwd != NULL && chdir(o->cwd) != 0)
        fail(report_fd);
    if (o->new_group && o->confine != NULL)
        confine(o, parent, report_fd);
    execve(o->file, o->argv, o->envp);
    if (o->no_wait)
        give_up(o, report_fd, STDERR_FILENO, o->file);
    fail(report_fd);
    _exit(EXEC_FAILED);
}

/* --- in the parent --- */

/* fork with all signals blocked: the child resets the handlers before any can run. */
static pid_t fork_child(const struct bt_child_opts *o, int report_fd)
{
    sigset_t all, before;
    pid_t parent = getpid(), pid;
    int saved;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        run_child(o, parent, report_fd);
    saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

/* 0 when exec took place, else the child's errno. */
static int outcome(int report_fd)
{
    int code = 0;
    ssize_t n;

    do {
        n = read(report_fd, &code, sizeof(code));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(code) ? code : 0;
}

static int start(const struct bt_child_opts *o, pid_t *out, int *error)
{
    int report[2], code;
    pid_t pid;

    if (bt_sys_pipe(report) != 0)
        return bt_origin(BT_EIO, "cannot create a pipe for a child process");
    pid = fork_child(o, report[1]);
    code = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0 && !o->no_wait)
        code = outcome(report[0]);
    close(report[0]);
    *error = code;
    if (code == 0) {
        *out = pid;
        return 0;
    }
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    bt_log(BT_LOG_ERROR, "CORE-SPAWN", "cannot start a child process",
           "file=" BT_LOG_Q " error=" BT_LOG_Q, o->file,
           strerror(code)); /* NOLINT(concurrency-mt-unsafe): both libcs' is safe */
    return BT_EIO;
}

/* Under the lock. The main thread looks at all children soon. */
static void poke_reaper(void)
{
    if (reaper.box == NULL || reaper.poked)
        return;
    reaper.poked = bt_mbox_post(reaper.box, &reaper.poke) == 0;
}

/* What was expected has come. */
static void enlist(struct child *c)
{
    pthread_mutex_lock(&reaper.lock);
    bt_list_push_back(&reaper.children, &c->link);
    reaper.expected--;
    poke_reaper();
    pthread_mutex_unlock(&reaper.lock);
}

int bt_child_spawn(struct bt_super *super, const struct bt_child_opts *opts,
                   struct bt_mbox *to, struct bt_child_exit *on_exit, pid_t *pid)
{
    struct child *c;
    int r;

    (void)super; /* one per process, as the registry */
    if (opts->n_fds > MAX_FDS)
        return bt_origin(BT_EINVAL, "too many descriptors for a child process");
    c = bt_calloc(1, sizeof(*c));
    if (c == NULL)
        return BT_ENOMEM;
    bt_child_expect(1);
    r = start(opts, &c->pid, &on_exit->error);
    if (r != 0) {
        bt_child_expect(-1);
        bt_free(c);
        return r;
    }
    c->group = opts->new_group;
    c->to = to;
    c->on_exit = on_exit;
    *pid = c->pid;
    enlist(c);
    return 0;
}

int bt_child_adopt_orphans(void)
{
    int r;

    pthread_mutex_lock(&reaper.lock);
    if (!reaper.adopts)
        reaper.adopts = bt_sys_subreaper() == 0;
    r = reaper.adopts ? 0 : BT_CHILD_CANNOT;
    pthread_mutex_unlock(&reaper.lock);
    return r;
}

void bt_child_expect(int change)
{
    pthread_mutex_lock(&reaper.lock);
    reaper.expected = (unsigned)((int)reaper.expected + change);
    poke_reaper();
    pthread_mutex_unlock(&reaper.lock);
}

/* Under the lock: a child of this process that nobody has registered. */
static bool is_unknown_child(pid_t pid)
{
    siginfo_t info = { 0 };
    struct bt_list *it;

    if (pid <= 1 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return false;
    bt_list_for_each (it, &reaper.children)
        if (bt_list_entry(it, struct child, link)->pid == pid)
            return false;
    return true;
}

bool bt_child_is_orphan(pid_t pid)
{
    bool unknown;

    pthread_mutex_lock(&reaper.lock);
    unknown = is_unknown_child(pid);
    pthread_mutex_unlock(&reaper.lock);
    return unknown && getpgid(pid) == pid && getsid(pid) == getsid(0);
}

int bt_child_adopt(pid_t pid, struct bt_mbox *to, struct bt_child_exit *on_exit)
{
    struct child *c = bt_calloc(1, sizeof(*c));

    if (c == NULL)
        return BT_ENOMEM;
    *c = (struct child){ .pid = pid, .group = true, .to = to, .on_exit = on_exit };
    if (!bt_child_is_orphan(pid)) {
        bt_free(c);
        return bt_origin(BT_EINVAL, "a process to adopt is not an orphan of ours");
    }
    /* The adoption was announced: spawn's end of it is the same. */
    enlist(c);
    return 0;
}

static void send_signal(const struct child *c, bool group, int signum)
{
    (void)kill(group && c->group ? -c->pid : c->pid, signum);
}

void bt_child_kill(pid_t pid, bool group, int signum)
{
    struct bt_list *it;

    pthread_mutex_lock(&reaper.lock);
    bt_list_for_each (it, &reaper.children) {
        const struct child *c = bt_list_entry(it, struct child, link);

        if (c->pid == pid)
            send_signal(c, group, signum);
    }
    pthread_mutex_unlock(&reaper.lock);
}

void bt_child_kill_all(void)
{
    struct bt_list *it;

    pthread_mutex_lock(&reaper.lock);
    bt_list_for_each (it, &reaper.children)
        send_signal(bt_list_entry(it, struct child, link), true, SIGKILL);
    pthread_mutex_unlock(&reaper.lock);
}

/* Under the lock: true when c has ended; it is then out of the registry. */
static bool reap(struct child *c, int *status)
{
    siginfo_t info = { 0 };

    if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        /* Somebody else waited for it: what it returned is not known. */
        if (errno != ECHILD)
            return false;
        *status = 0;
        bt_list_remove(&c->link);
        return true;
    }
    if (info.si_pid == 0)
        return false;
    /* The group's id is still taken by the dead leader: nothing else can have it. */
    if (c->group)
        (void)kill(-c->pid, SIGKILL);
    if (waitpid(c->pid, status, WNOHANG) != c->pid)
        return false;
    bt_list_remove(&c->link);
    return true;
}

/* Under the lock: processes that our children left behind have come to us and end here.
 * While a child is expected that is not registered yet, nobody unknown is touched. */
static void reap_orphans(void)
{
    siginfo_t info = { 0 };

    while (reaper.adopts && reaper.expected == 0 &&
           waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0 && is_unknown_child(info.si_pid)) {
        (void)waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

static void reap_all(void)
{
    struct bt_list *it, *tmp;

    pthread_mutex_lock(&reaper.lock);
    bt_list_for_each_safe (it, tmp, &reaper.children) {
        struct child *c = bt_list_entry(it, struct child, link);
        struct bt_child_exit *done = c->on_exit;
        int status = 0;

        if (!reap(c, &status))
            continue;
        done->pid = c->pid;
        done->status = status;
        if (bt_mbox_post(c->to, &done->msg) != 0)
            bt_log(BT_LOG_ERROR, "CORE-CHILD-LOST", "nobody takes the end of a child",
                   "pid=%ld", (long)c->pid);
        bt_free(c);
    }
    reap_orphans();
    pthread_mutex_unlock(&reaper.lock);
}

static void on_poke(void *arg, struct bt_msg *msg)
{
    (void)arg;
    (void)msg;
    pthread_mutex_lock(&reaper.lock);
    reaper.poked = false;
    pthread_mutex_unlock(&reaper.lock);
    reap_all();
}

static void on_sigchld(struct bt_signal *s, int signum)
{
    (void)s;
    (void)signum;
    reap_all();
}

int bt_child_reaper_start(struct bt_loop *main_loop)
{
    struct bt_mbox *box = bt_mbox_new(main_loop, on_poke, NULL);

    if (box == NULL)
        return BT_ENOMEM;
    bt_signal_start(main_loop, &reaper.on_sigchld, SIGCHLD, on_sigchld);
    pthread_mutex_lock(&reaper.lock);
    reaper.box = box;
    reaper.poked = false;
    pthread_mutex_unlock(&reaper.lock);
    return 0;
}

void bt_child_reaper_stop(struct bt_loop *main_loop)
{
    struct bt_list *it, *tmp;
    struct bt_mbox *box;

    bt_child_kill_all();
    bt_signal_stop(main_loop, &reaper.on_sigchld);
    pthread_mutex_lock(&reaper.lock);
    box = reaper.box;
    reaper.box = NULL;
    bt_list_for_each_safe (it, tmp, &reaper.children) {
        struct child *c = bt_list_entry(it, struct child, link);

        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        bt_list_remove(&c->link);
        bt_free(c);
    }
    pthread_mutex_unlock(&reaper.lock);
    bt_mbox_free(box);
}
