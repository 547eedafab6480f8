/* The original kept its messages, sessions and retained messages in files of its own.
 * They are left alone; who comes from there is told once at the start. Failure modes:
 * none. */
#include "hub/store/store_old.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base.h"
#include "core/log.h"

void hub_store_old_tell(const char *dir)
{
    static const char *const names[] = { "session.db", "msgqos1.db", "offset.db" };
    char path[PATH_MAX];

    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) >= (int)sizeof(path) ||
            access(path, F_OK) != 0)
            continue;
        bt_log(BT_LOG_WARN, "HUB-OLDSTORE",
               "sessions and messages of the original hub are not taken over",
               "file=%s hint=\"clients subscribe again; remove the file when all have\"",
               path);
        return;
    }
}
