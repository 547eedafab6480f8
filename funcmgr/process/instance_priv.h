/* Between the files of the instance. */
#ifndef FUNCMGR_INSTANCE_PRIV_H
#define FUNCMGR_INSTANCE_PRIV_H

#include "funcmgr/process/instance.h"

static inline struct bt_loop *fm_instance_loop(const struct fm_instance *in)
{
    return in->opts.env->loop;
}

/* instance.c */
void fm_instance_set_state(struct fm_instance *in, enum fm_state to);
/* The instance cannot go on. Tells whoever waits for it, last of all. */
void fm_instance_fault(struct fm_instance *in, enum fm_outcome outcome, const char *code,
                       const char *desc);
/* It closed its end of a pipe. */
void fm_instance_closed(struct fm_instance *in);

/* instance_talk.c */
int fm_instance_send_hello(struct fm_instance *in);
void fm_instance_on_writable(struct bt_io *io, unsigned events);
void fm_instance_on_reply(struct bt_io *io, unsigned events);
/* False when there is no more for now, or the instance is being stopped. */
bool fm_instance_read(struct fm_instance *in);
/* The timer of a ready or busy instance. It is not moved at every reply, so it may come
 * too early. */
void fm_instance_look_for_late_calls(struct fm_instance *in);

#endif
