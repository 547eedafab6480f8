/* Writing JSON into a buffer. No state, any thread. */
#ifndef CORE_JSON_PUT_H
#define CORE_JSON_PUT_H

#include "core/buf.h"

/* Appends the text as a JSON string, quotes included. Text that is not UTF-8 has its
 * bytes above 0x7f replaced by U+FFFD. 0, BT_ENOMEM or BT_ELIMIT. */
int bt_json_put_string(struct bt_buf *out, struct bt_slice text) BT_MUST_CHECK;
/* The same for text that is known to be UTF-8 and may hold a NUL. */
int bt_json_put_utf8(struct bt_buf *out, struct bt_slice text) BT_MUST_CHECK;
int bt_json_put_str(struct bt_buf *out, const char *text) BT_MUST_CHECK;

#endif
