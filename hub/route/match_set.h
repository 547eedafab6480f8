/* What a cache needs of the index: its version and a matched set. Private to
 * hub/match*.c. */
#ifndef HUB_MATCH_SET_H
#define HUB_MATCH_SET_H

#include "hub/route/match.h"

/* Any thread. Moves with every change; a set made at an older version is stale. Read with
 * acquire. */
const _Atomic uint64_t *hub_index_version(const struct hub_index *ix);
/* Any thread. A new set with one reference, the version it belongs to and the bytes it
 * takes; NULL when out of memory. */
struct hub_match *hub_index_match(struct hub_index *ix, struct bt_slice topic,
                                  uint64_t *version, size_t *size) BT_MUST_CHECK;

#endif
