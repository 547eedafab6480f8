/* What a result looks like. No state, any thread. */
#ifndef FUNCMGR_PAYLOAD_H
#define FUNCMGR_PAYLOAD_H

#include "core/base.h"

/* So much of a result is read; a longer one is judged by its ends. */
#define FM_PAYLOAD_JSON_CHECK ((size_t)64 * 1024)
#define FM_PAYLOAD_MAX_DEPTH  256u

/* Whether it is a JSON text (RFC 8259) in UTF-8. */
bool fm_payload_is_json(struct bt_slice payload);

#endif
