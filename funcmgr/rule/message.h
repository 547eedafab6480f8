/* What goes into a function and what comes out of it, as rules and calls share it. No
 * state; any thread. */
#ifndef FUNCMGR_MESSAGE_H
#define FUNCMGR_MESSAGE_H

#include "core/buf.h"
#include "funcmgr/pool/call.h"
#include "funcmgr/rule/link.h"

#define FM_UUID_LEN 36u

/* A random UUID (version 4), NUL-terminated. */
void fm_uuid(char out[FM_UUID_LEN + 1]);
/* The call record of a delivery, received now. Borrows all three. */
void fm_message_of(struct fm_message *out, const struct fm_delivery *d,
                   const char *function, const char *uuid);

/* What is published, or answered, for a result: its payload or the error message. */
struct fm_answer {
    struct bt_slice payload; /* of the result or of json; empty: nothing to publish */
    bool error;              /* it is an error message */
    struct bt_buf json;
};

/* max: bytes that the receiver takes; a larger result becomes an error message, and an
 * error message that does not fit leaves the input's payload out. Borrows result and
 * input. 0 or BT_ENOMEM/BT_ELIMIT; _deinit either way. */
int fm_answer_init(struct fm_answer *out, const struct fm_result *result,
                   const struct fm_message *input, size_t max) BT_MUST_CHECK;
void fm_answer_deinit(struct fm_answer *answer);

#endif
