/* Instances by forking.
 *
 * Happy path: the first launch starts the template like an instance, with one end of a
 * socket as its descriptors 3 and 4. Launches wait until it said hello. Then, one after
 * the other, each goes to it as one packet, the name of the instance with three
 * descriptors, and its answer is the process id. The new process is an orphan by then,
 * which is our child (core/child.h), so its end is reported like that of any other
 * child, and it lives on when the template ends.
 * Failure modes: a template that says it cannot fork (a thread runs, no ctypes) is ended
 * and not tried again before the code changes. One that ends, is late or talks nonsense
 * is ended, and whatever waited for it starts in the ordinary way; after FM_FORK_TRIES
 * of them in a row that is final, too. A handler that cannot be loaded fails the launches
 * with the reason, as an ordinary start would. */
#include "funcmgr/process/forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

#define N_FDS    3
#define MAX_WHY  1024
#define MAX_NAME 512
#define TEMPLATE "template" /* in the place of the instance's number */

enum template_state { STARTING, READY, STOPPING };

struct fm_template {
    struct fm_fork *owner;
    enum template_state state;
    char name[MAX_NAME];
    struct bt_child_exit exit;
    pid_t pid;
    int fd; /* ours of the socket; -1 once closed */
    struct bt_io io;
    struct bt_timer timer;
    struct fm_output output;
    struct fm_cell *cell;    /* it has the limits of an instance, in its own cell */
    struct fm_launch *asked; /* the launch that it works on */
    bool has_forked;
    bool retire; /* end it after this launch */
};

static void pump(struct fm_fork *f);

static struct bt_loop *loop_of(const struct fm_fork *f)
{
    return f->opts.env->loop;
}

/* ---- Launches that need another way ---- */

/* A launch that ends here may bring a new one: only those that wait now. */
static void take_all(struct fm_fork *f, struct bt_list *out)
{
    struct bt_list *node;

    bt_list_init(out);
    while ((node = bt_list_first(&f->waiting)) != NULL) {
        bt_list_remove(node);
        bt_list_push_back(out, node);
    }
}

static void spawn_all(struct fm_fork *f)
{
    struct bt_list list;

    take_all(f, &list);
    while (!bt_list_empty(&list))
        fm_launch_spawn(bt_list_entry(bt_list_first(&list), struct fm_launch, link));
}

static void fail_all(struct fm_fork *f, const char *why)
{
    struct bt_list list;

    take_all(f, &list);
    while (!bt_list_empty(&list))
        fm_launch_fail(bt_list_entry(bt_list_first(&list), struct fm_launch, link),
                       BT_EINVAL, why);
}

static void on_cancel_timer(struct bt_timer *timer)
{
    struct fm_fork *f = bt_container_of(timer, struct fm_fork, cancel_timer);
    struct bt_list list, *it, *next;

    bt_list_init(&list);
    bt_list_for_each_safe (it, next, &f->waiting) {
        if (!bt_list_entry(it, struct fm_launch, link)->cancelled)
            continue;
        bt_list_remove(it);
        bt_list_push_back(&list, it);
    }
    while (!bt_list_empty(&list))
        fm_launch_fail(bt_list_entry(bt_list_first(&list), struct fm_launch, link),
                       BT_ECLOSED, "cancelled");
}

void fm_fork_cancelled(struct fm_fork *f)
{
    bt_timer_start(loop_of(f), &f->cancel_timer, 0, 0);
}

/* ---- The template's end ---- */

static void close_socket(struct fm_template *t)
{
    if (t->fd < 0)
        return;
    bt_io_stop(loop_of(t->owner), &t->io);
    close(t->fd);
    t->fd = -1;
}

static void stop(struct fm_template *t)
{
    struct fm_fork *f = t->owner;

    if (t->state == STOPPING)
        return;
    t->state = STOPPING;
    if (f->current == t)
        f->current = NULL;
    close_socket(t);
    bt_child_kill(t->pid, true, SIGTERM);
    bt_timer_start(loop_of(f), &t->timer, FM_TERM_MS, FM_TERM_MS);
}

/* What it was asked for is started in the ordinary way, or was never wanted. */
static void give_back(struct fm_template *t)
{
    struct fm_launch *l = bt_steal(t->asked);

    if (l == NULL)
        return;
    bt_child_expect(-1);
    fm_launch_spawn(l);
}

static void cannot_fork(struct fm_template *t, enum bt_log_level level, const char *why)
{
    struct fm_fork *f = t->owner;

    if (t->retire) { /* of earlier code: that says nothing about the present one */
        stop(t);
        give_back(t);
        return;
    }
    bt_log(level, "FUNC-FORK", "a function is not forked, its instances start one by one",
           "function=%s reason=" BT_LOG_Q, f->opts.function, why);
    f->cannot = true;
    stop(t);
    give_back(t);
    spawn_all(f);
}

static void got_process(struct fm_template *t, pid_t pid)
{
    struct fm_fork *f = t->owner;
    struct fm_launch *l = bt_steal(t->asked);

    t->has_forked = true;
    f->n_failed = 0;
    bt_timer_stop(loop_of(f), &t->timer);
    if (t->retire)
        stop(t);
    fm_launch_adopt(l, pid);
}

/* The process id in an answer, or 0. */
static pid_t process_in(const char *text)
{
    char *end;
    long pid = text[0] == 'P' ? strtol(text + 1, &end, 10) : 0;

    return pid > 1 && pid <= INT32_MAX && *end == '\0' ? (pid_t)pid : 0;
}

/* A process that was made is taken although the template has ended since: the one that
 * would be started in its place has the same pipes. One that has not answered by now
 * cannot any more, and ends before it touches them. */
static void take_last_answer(struct fm_template *t)
{
    char text[64];
    ssize_t n;

    if (t->asked == NULL || t->fd < 0)
        return;
    (void)shutdown(t->fd, SHUT_RDWR);
    while (t->asked != NULL && (n = recv(t->fd, text, sizeof(text) - 1, 0)) > 0) {
        text[n] = '\0';
        if (process_in(text) != 0)
            got_process(t, process_in(text));
    }
}

/* It ended, or cannot go on. */
static void lost(struct fm_template *t, const char *why)
{
    struct fm_fork *f = t->owner;

    if (t->state != STOPPING)
        take_last_answer(t);
    if (t->state == STOPPING)
        return;
    if (!t->retire && !t->has_forked && ++f->n_failed >= FM_FORK_TRIES) {
        cannot_fork(t, BT_LOG_WARN, why);
        return;
    }
    bt_log(BT_LOG_WARN, "FUNC-TEMPLATE", "a function's template is ended",
           "function=%s pid=%d reason=" BT_LOG_Q, f->opts.function, (int)t->pid, why);
    stop(t);
    give_back(t);
    spawn_all(f);
}

static void on_timer(struct bt_timer *timer)
{
    struct fm_template *t = bt_container_of(timer, struct fm_template, timer);

    if (t->state == STOPPING)
        bt_child_kill(t->pid, true, SIGKILL);
    else
        lost(t, "it did not answer in time");
}

void fm_fork_exited(struct bt_msg *msg)
{
    struct bt_child_exit *e = bt_container_of(msg, struct bt_child_exit, msg);
    struct fm_template *t = bt_container_of(e, struct fm_template, exit);
    struct fm_fork *f = t->owner;

    lost(t, "it ended");
    bt_timer_stop(loop_of(f), &t->timer);
    fm_output_close(&t->output);
    fm_cell_free(t->cell);
    bt_log(BT_LOG_DEBUG, "FUNC-EXIT", "template ended", "function=%s pid=%d status=%d",
           f->opts.function, (int)t->pid, t->exit.status);
    bt_free(t);
    f->n_processes--;
    if (f->closing && f->n_processes == 0)
        f->gone(f->arg);
}

/* ---- What it says ---- */

static void got_hello(struct fm_template *t, const struct fm_hello *hello)
{
    struct fm_fork *f = t->owner;
    char why[MAX_WHY];

    if (hello->cannot_fork.len > 0) {
        snprintf(why, sizeof(why), "%.*s",
                 (int)BT_MIN(hello->cannot_fork.len, sizeof(why) - 1),
                 (const char *)hello->cannot_fork.ptr);
        cannot_fork(t, BT_LOG_INFO, why);
        return;
    }
    if (hello->error.len > 0 || hello->version != FM_FRAME_VERSION) {
        snprintf(why, sizeof(why), "%.*s", (int)BT_MIN(hello->error.len, sizeof(why) - 1),
                 (const char *)hello->error.ptr);
        stop(t);
        fail_all(f, why);
        return;
    }
    bt_log(BT_LOG_INFO, "FUNC-TEMPLATE", "template ready", "function=%s pid=%d",
           f->opts.function, (int)t->pid);
    bt_timer_stop(loop_of(f), &t->timer);
    t->state = READY;
    pump(f);
}

static void got_log(struct fm_template *t, const struct fm_log_frame *log)
{
    fm_output_log(&t->output, log->level, log->text);
}

static void got_frame(struct fm_template *t, const uint8_t *data, size_t len)
{
    struct fm_frame frame;

    if (len < FM_FRAME_PREFIX ||
        fm_frame_decode(data + FM_FRAME_PREFIX, len - FM_FRAME_PREFIX, &frame) != 0)
        lost(t, "it sent an invalid frame");
    else if (frame.kind == FM_LOG)
        got_log(t, &frame.log);
    else if (frame.kind == FM_HELLO && t->state == STARTING)
        got_hello(t, &frame.hello);
    else
        lost(t, "it sent an invalid frame");
}

/* P and a process id; E and why it could not fork; N and why it never will. */
static void got_answer(struct fm_template *t, const char *text)
{
    if (text[0] == 'N')
        cannot_fork(t, BT_LOG_INFO, text + 1);
    else if (text[0] == 'E')
        lost(t, text + 1);
    else if (t->asked == NULL)
        lost(t, "it sent an answer that is not due");
    else if (process_in(text) != 0)
        got_process(t, process_in(text));
    else
        lost(t, "it sent an invalid answer");
}

static void on_readable(struct bt_io *io, unsigned events)
{
    struct fm_template *t = bt_container_of(io, struct fm_template, io);
    struct fm_fork *f = t->owner;
    const uint8_t *chunk = f->opts.env->chunk;
    char text[MAX_WHY];
    ssize_t n = recv(t->fd, f->opts.env->chunk, FM_READ_CHUNK, 0);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        lost(t, "it ended");
    } else if (chunk[0] == 0) {
        got_frame(t, chunk, (size_t)n);
    } else {
        snprintf(text, sizeof(text), "%.*s", (int)BT_MIN((size_t)n, sizeof(text) - 1),
                 (const char *)chunk);
        got_answer(t, text);
    }
    pump(f);
}

/* ---- What it is asked ---- */

static bool send_request(int fd, const struct fm_launch *l)
{
    const int fds[N_FDS] = { l->call_fd, l->reply_fd, l->output_fd };
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * N_FDS)];
    } control = { .space = { 0 } };
    struct iovec iov = { (void *)(uintptr_t)l->name, strlen(l->name) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    return sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

/* Those that are cancelled are the timer's. */
static struct fm_launch *first_wanted(struct fm_fork *f)
{
    struct bt_list *it;

    bt_list_for_each (it, &f->waiting) {
        struct fm_launch *l = bt_list_entry(it, struct fm_launch, link);

        if (!l->cancelled)
            return l;
    }
    return NULL;
}

/* The next launch, when the template is free for it. */
static void pump(struct fm_fork *f)
{
    struct fm_template *t = f->current;
    struct fm_launch *l;

    if (t == NULL || t->state != READY || t->asked != NULL)
        return;
    l = first_wanted(f);
    if (l == NULL)
        return;
    bt_list_remove(&l->link);
    bt_child_expect(1);
    t->asked = l;
    /* The other half is for a start in the ordinary way. */
    bt_timer_start(loop_of(f), &t->timer, fm_start_ms(&f->opts) / 2, 0);
    /* A socket that takes no packet is one whose other end is gone: its end of file, or
     * the timer, gives the launch back. No callback from inside a launch. */
    (void)send_request(t->fd, l);
}

static int send_hello(const struct fm_instance_opts *o, int fd)
{
    struct fm_frame frame = { .kind = FM_HELLO };
    struct bt_buf out bt_cleanup(bt_buf_deinit) = { 0 };
    int r;

    frame.hello.version = FM_FRAME_VERSION;
    frame.hello.forks = true;
    frame.hello.max_message = o->max_message;
    frame.hello.function = bt_slice_of(o->function);
    frame.hello.handler = bt_slice_of(o->handler);
    frame.hello.codedir = bt_slice_of(o->codedir);
    r = fm_frame_encode(&frame, FM_FRAME_MAX_HELLO, &out, NULL);
    if (r == 0 && send(fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
        r = bt_origin(BT_EIO, "a template takes no packet");
    return r;
}

/* ---- Life ---- */

static void begin(struct fm_template *t, int fd, int output_fd)
{
    struct fm_fork *f = t->owner;

    t->fd = fd;
    bt_io_init(&t->io, fd, on_readable);
    bt_io_start(loop_of(f), &t->io, BT_READ);
    fm_output_start(&t->output, loop_of(f), t->name, f->opts.env->chunk, output_fd);
    bt_timer_init(&t->timer, on_timer);
    bt_timer_start(loop_of(f), &t->timer, fm_start_ms(&f->opts), 0);
    f->current = t;
    f->n_processes++;
}

static int launch_template(struct fm_template *t, int fds[2], int output[2])
{
    struct fm_launch l = { .opts = &t->owner->opts, .name = t->name };
    int r = 0;

    if (bt_sys_packetpair(fds) != 0 || bt_sys_pipe(output) != 0 ||
        fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(output[0], F_SETFL, O_NONBLOCK) != 0)
        r = bt_origin(BT_EIO, "the socket of a template cannot be made");
    if (r == 0)
        r = send_hello(l.opts, fds[0]);
    l.on_exit = &t->exit;
    l.call_fd = l.reply_fd = fds[1];
    l.output_fd = output[1];
    if (r == 0)
        r = fm_launch_program(&l, &t->pid);
    t->cell = l.cell;
    return r;
}

static int start_template(struct fm_fork *f)
{
    int fds[2] = { -1, -1 }, output[2] = { -1, -1 };
    struct fm_template *t = bt_calloc(1, sizeof(*t));
    int r;

    if (t == NULL)
        return BT_ENOMEM;
    t->owner = f;
    t->exit.msg.kind = FM_MSG_TEMPLATE_EXIT;
    snprintf(t->name, sizeof(t->name), "%s.%s", f->opts.function, TEMPLATE);
    r = launch_template(t, fds, output);
    if (r == 0) {
        begin(t, fds[0], output[0]);
        fds[0] = output[0] = -1;
    } else {
        bt_free(t);
    }
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        if (output[i] >= 0)
            close(output[i]);
    }
    return r;
}

bool fm_fork_launch(struct fm_fork *f, struct fm_launch *l)
{
    if (!f->wanted || f->cannot || f->closing)
        return false;
    if (f->current == NULL && start_template(f) != 0)
        return false;
    bt_list_push_back(&f->waiting, &l->link);
    pump(f);
    return true;
}

void fm_fork_init(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted)
{
    *f = (struct fm_fork){ .opts = *opts };
    f->wanted = wanted && bt_child_adopt_orphans() == 0;
    bt_list_init(&f->waiting);
    bt_timer_init(&f->cancel_timer, on_cancel_timer);
}

void fm_fork_deinit(struct fm_fork *f)
{
    if (f->opts.env != NULL)
        bt_timer_stop(loop_of(f), &f->cancel_timer);
}

void fm_fork_rest(struct fm_fork *f)
{
    if (f->current != NULL && f->current->asked == NULL && bt_list_empty(&f->waiting))
        stop(f->current);
}

void fm_fork_renew(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted)
{
    struct fm_template *t = bt_steal(f->current);

    f->opts = *opts;
    f->wanted = wanted && bt_child_adopt_orphans() == 0;
    f->cannot = false;
    f->n_failed = 0;
    if (t == NULL)
        return;
    t->retire = true;
    if (t->asked == NULL)
        stop(t);
}

void fm_fork_close(struct fm_fork *f)
{
    struct fm_template *t = f->current;

    f->closing = true;
    if (t == NULL)
        return;
    t->retire = true;
    if (t->asked == NULL)
        stop(t);
    else /* its answer is not worth a long wait any more */
        bt_timer_start(loop_of(f), &t->timer, FM_TERM_MS, 0);
}

bool fm_fork_has_process(const struct fm_fork *f)
{
    return f->n_processes > 0;
}
