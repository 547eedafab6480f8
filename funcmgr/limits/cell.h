/* What one instance is locked into: its control group, its process limits, its rule set.
 * The function manager's thread only.
 *
 * Around a spawn: fm_cell_new, bt_child_spawn with fm_cell_confine(), fm_cell_started.
 * For a process that another one has forked: fm_cell_new, fm_cell_adopt before its first
 * call. */
#ifndef FUNCMGR_CELL_H
#define FUNCMGR_CELL_H

#include "funcmgr/limits/limits.h"

#define FM_CELL_OPTION 48

struct fm_cell {
    struct bt_list link;      /* the backend's graves */
    struct fm_limits *limits; /* a reference */
    struct fm_cgroup group;
    bool grouped;
    struct bt_confine confine;
};

/* name: FUNCTION.NUMBER. limits NULL or nothing to enforce: 0 and *out is NULL, which all
 * functions below take. Otherwise 0, BT_ENOMEM or BT_EIO (logged). */
int fm_cell_new(struct fm_limits *limits, const char *name,
                struct fm_cell **out) BT_MUST_CHECK;
/* For bt_child_opts. */
const struct bt_confine *fm_cell_confine(const struct fm_cell *cell);
/* Joining takes milliseconds: do not wait for exec. */
bool fm_cell_is_slow(const struct fm_cell *cell);
/* The spawn is over, well or not: what was open for it is closed. */
void fm_cell_started(struct fm_cell *cell);
/* A running process: its group and its limits. What only the process itself can do (user,
 * sandbox) was done by the one that forked it. Any thread, which has the cell to itself;
 * waits for milliseconds when the cell is slow. 0 or BT_EIO, logged. */
int fm_cell_adopt(struct fm_cell *cell, pid_t pid) BT_MUST_CHECK;
/* It knows all that the process has started: there is a control group. */
bool fm_cell_holds_all(const struct fm_cell *cell);
/* SIGKILL to all that is in it, also what left the process group. */
void fm_cell_kill(const struct fm_cell *cell);
/* Only the exit status tells why it ended: wait for it. */
bool fm_cell_tells_by_status(const struct fm_cell *cell);
/* Which limit ended the process: a sentence in `text`, or false. status: as from waitpid,
 * 0 when it is not known yet. */
bool fm_cell_why(struct fm_cell *cell, int status, char *text, size_t size);
/* The process is gone: kill the rest, free. The group goes when the last has ended. */
void fm_cell_free(struct fm_cell *cell);
/* The arguments of the interpreter, with an option that enforces a limit when there is
 * one. argv is NULL-terminated with room for one more; option is its memory. */
void fm_cell_argv(const struct fm_limits *limits, char **argv,
                  char option[FM_CELL_OPTION]);

#endif
