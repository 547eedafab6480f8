/* The user database is read with the C library's reentrant calls: the static executable's
 * library reads /etc/passwd and /etc/group itself, so nothing has to be installed.
 *
 * Failure: a name that is not there, a number without a group that is not there, and any
 * user but our own when we are not root. */
#include "funcmgr/limits/user.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/sys.h"

#define MAX_ENTRY 16384 /* bytes of one line of the database */

static bool parse_id(const char *text, size_t len, uint32_t *out)
{
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
        if (n >= UINT32_MAX) /* all ones means "no user" to the kernel */
            return false;
    }
    *out = (uint32_t)n;
    return len > 0;
}

static int unknown(const char *text, struct bt_buf *why)
{
    int r = bt_buf_printf(why, "there is no user \"%s\"", text);

    return r != 0 ? r : BT_EINVAL;
}

static int take_entry(const struct passwd *pw, struct fm_user *out)
{
    int n = BT_CONFINE_GROUPS;

    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;

    if (bt_sys_groups(pw->pw_name, pw->pw_gid, out->groups, &n) < 0)
        n = BT_CONFINE_GROUPS; /* the first ones */
    out->n_groups = (size_t)n;
    out->home = bt_strdup(pw->pw_dir);
    return out->home != NULL ? 0 : BT_ENOMEM;
}

static int look_up(const char *text, struct fm_user *out, struct bt_buf *why)
{
    size_t uid_len = strcspn(text, ":");
    char *room bt_cleanup(bt_freep) = bt_malloc(MAX_ENTRY);
    struct passwd entry, *found = NULL;
    uint32_t uid, gid;

    if (room == NULL)
        return BT_ENOMEM;
    if (!parse_id(text, uid_len, &uid)) {
        if (getpwnam_r(text, &entry, room, MAX_ENTRY, &found) != 0 || found == NULL)
            return unknown(text, why);
        return take_entry(found, out);
    }
    if (text[uid_len] == ':') {
        if (!parse_id(text + uid_len + 1, strlen(text + uid_len + 1), &gid))
            return unknown(text, why);
        out->uid = (uid_t)uid;
        out->gid = out->groups[0] = (gid_t)gid;
        out->n_groups = 1;
        return 0;
    }
    if (getpwuid_r((uid_t)uid, &entry, room, MAX_ENTRY, &found) != 0 || found == NULL)
        return unknown(text, why);
    return take_entry(found, out);
}

int fm_user_find(const char *text, struct fm_user *out, struct bt_buf *why)
{
    int r;

    *out = (struct fm_user){ 0 };
    r = look_up(text, out, why);
    if (r != 0)
        return r;
    out->set = geteuid() == 0;
    if (out->set || (out->uid == geteuid() && out->gid == getegid()))
        return 0;
    r = bt_buf_printf(why, "only root can run a function as the user \"%s\"", text);
    return r != 0 ? r : BT_EINVAL;
}

void fm_user_deinit(struct fm_user *user)
{
    bt_free(user->home);
    *user = (struct fm_user){ 0 };
}
