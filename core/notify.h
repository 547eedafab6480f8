/* The service manager's notification protocol (sd_notify), without its library: a
 * datagram of KEY=VALUE lines to the Unix socket named by NOTIFY_SOCKET. Main thread. */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include "core/base.h"

#define BT_NOTIFY_NONE 1

/* Send e.g. "READY=1\nSTATUS=serving". 0, BT_NOTIFY_NONE when there is nobody to tell, or
 * BT_EIO (logged). Never blocks. */
int bt_notify(const char *state);
/* The service manager wants WATCHDOG=1 at least this often (WATCHDOG_USEC, when
 * WATCHDOG_PID is ours or absent); 0 = it does not. */
uint64_t bt_notify_watchdog_ms(void);

#endif
