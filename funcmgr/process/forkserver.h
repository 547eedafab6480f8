/* A function's template: a process that has loaded the handler and makes instances by
 * forking itself, so that loading is done once and its memory is shared. See
 * docs/frames.md ("Forking") and docs/decisions/0025-fork-server.md. The function
 * manager's thread only.
 *
 *   no template --first launch--> STARTING --hello--> READY --idle, renewal, close-->
 *   STOPPING; it ends at any time --> no template, and launches go the ordinary way
 */
#ifndef FUNCMGR_FORKSERVER_H
#define FUNCMGR_FORKSERVER_H

#include "core/list.h"
#include "funcmgr/process/instance.h"

/* After so many templates that ended before they forked once, no more are tried. */
#define FM_FORK_TRIES 3u

struct fm_template;

struct fm_fork {
    struct fm_instance_opts opts; /* of the template; strings are borrowed */
    bool wanted;                  /* as configured, and this system can */
    bool cannot;                  /* this code cannot be forked; until a renewal */
    struct fm_template *current;  /* or NULL */
    unsigned n_processes;         /* templates that are not reaped yet */
    unsigned n_failed;            /* templates in a row that never forked */
    struct bt_list waiting;       /* struct fm_launch.link, not yet sent */
    struct bt_timer cancel_timer; /* answers launches that were cancelled */
    bool closing;
    void *arg;
    void (*gone)(void *arg); /* the last process of a closed one is reaped */
};

/* wanted: whether to fork at all. It stays false where the system cannot. */
void fm_fork_init(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted);
/* No process may be left, no launch pending. */
void fm_fork_deinit(struct fm_fork *f);
/* True: it is pending. False: start it in the ordinary way. */
bool fm_fork_launch(struct fm_fork *f, struct fm_launch *l);
/* A pending launch was cancelled: it is answered soon. */
void fm_fork_cancelled(struct fm_fork *f);
/* No instance has been needed for long: end the template. The next launch starts one. */
void fm_fork_rest(struct fm_fork *f);
/* The code or the configuration has changed. */
void fm_fork_renew(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted);
/* End the template for good; all launches must be cancelled. `gone` follows when a
 * process is left. Idempotent. */
void fm_fork_close(struct fm_fork *f);
bool fm_fork_has_process(const struct fm_fork *f);
/* The mailbox's message of kind FM_MSG_TEMPLATE_EXIT. */
void fm_fork_exited(struct bt_msg *msg);

#endif
