/* Landlock: rule sets that close the file system to a process and its children, for good.
 * Works for any user. Linux 5.13 or newer with Landlock switched on; elsewhere there is
 * none. Thin and stateless; errors are errno and -1, nothing is logged. Any thread. */
#ifndef CORE_LANDLOCK_H
#define CORE_LANDLOCK_H

#include "core/base.h"

enum bt_landlock_access {
    BT_LANDLOCK_READ,  /* read, list, run */
    BT_LANDLOCK_WRITE, /* that, and change, make and remove what lies below */
    BT_LANDLOCK_USE,   /* read and write the file; for devices such as /dev/null */
};

/* Version of the kernel's interface, from 1 on; 0: there is none. */
int bt_landlock_abi(void);
/* A new rule set that allows nothing: a descriptor (close-on-exec), or -1. Where the
 * kernel can (version 6), it also keeps signals to processes outside away. */
int bt_landlock_new(void) BT_MUST_CHECK;
/* Allow a file, or a folder and all below it. 0 or -1, also when there is none such. */
int bt_landlock_allow(int rules_fd, const char *path,
                      enum bt_landlock_access access) BT_MUST_CHECK;
/* The calling process obeys from now on; it may also read what /proc says about itself.
 * Needs no_new_privs. Async-signal-safe. 0 or -1. */
int bt_landlock_enter(int rules_fd);

#endif
