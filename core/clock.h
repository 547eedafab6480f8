/* Time. Every timer and expiry uses the monotonic clock; wall time is for people and for
 * stored absolute expiries. Any thread. Tests replace both clocks with a virtual one. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "core/base.h"

uint64_t bt_clock_us(void);     /* monotonic microseconds since an arbitrary start */
uint64_t bt_clock_ms(void);     /* monotonic milliseconds since the same start */
int64_t bt_clock_wall_ms(void); /* UTC milliseconds since 1970 */

/* RFC 3339 with milliseconds in UTC, e.g. 2026-01-31T12:00:00.123Z. out holds at least 32
 * bytes. */
#define BT_CLOCK_TEXT_LEN 32
void bt_clock_text(int64_t wall_ms, char out[BT_CLOCK_TEXT_LEN]);

/* Tests only: from now on both clocks stand still and move by bt_clock_fake_advance. */
void bt_clock_fake_start(uint64_t mono_us, int64_t wall_ms);
void bt_clock_fake_advance(uint64_t us);
void bt_clock_fake_stop(void);

#endif
