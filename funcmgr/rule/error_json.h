/* The message that is published instead of a result when a call failed. Pure; any thread.
 */
#ifndef FUNCMGR_ERROR_JSON_H
#define FUNCMGR_ERROR_JSON_H

#include "core/buf.h"
#include "funcmgr/process/frame.h"

/* Append the JSON text of the original: errorMessage, errorType, functionMessage with the
 * input, whose zero and empty members are left out; bytes that are not UTF-8 become
 * U+FFFD. with_payload false leaves the input's payload out. BT_ENOMEM or BT_ELIMIT. */
int fm_error_json(struct bt_buf *out, const char *message, const char *type,
                  const struct fm_message *input, bool with_payload) BT_MUST_CHECK;

#endif
