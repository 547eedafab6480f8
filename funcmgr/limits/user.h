/* The user a function runs as. */
#ifndef FUNCMGR_USER_H
#define FUNCMGR_USER_H

#include <sys/types.h>

#include "core/buf.h"
#include "core/confine.h"

struct fm_user {
    bool set; /* another user than ours */
    uid_t uid;
    gid_t gid, groups[BT_CONFINE_GROUPS];
    size_t n_groups;
    char *home; /* owned; NULL when the database has no such user */
};

/* NAME or UID or UID:GID, looked up in the user database. A UID without GID must be in
 * it. 0; BT_EINVAL with *why (not logged) when it is unknown or this process is not root
 * and somebody else; BT_ENOMEM. Any thread; reads files. */
int fm_user_find(const char *text, struct fm_user *out, struct bt_buf *why) BT_MUST_CHECK;
void fm_user_deinit(struct fm_user *user);

#endif
