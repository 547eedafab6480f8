/* What the two files about control groups share: small files of the kernel by path. */
#ifndef FUNCMGR_CGROUP_PRIV_H
#define FUNCMGR_CGROUP_PRIV_H

#include "funcmgr/limits/cgroup.h"

#define FM_CGROUP_PATH 4096
#define FM_CGROUP_TEXT 4096

/* Write text into FOLDER/FILE. 0 or -1 with errno. */
int fm_cgroup_put(const char *folder, const char *file, const char *text);
/* Read FOLDER/FILE, cut at FM_CGROUP_TEXT - 1 bytes. 0 or -1 with errno. */
int fm_cgroup_get(const char *folder, const char *file, char text[FM_CGROUP_TEXT]);
bool fm_cgroup_has(const char *folder, const char *file);
/* SIGKILL to all in the folder, not below it. */
void fm_cgroup_kill_folder(const char *folder, bool kills);

#endif
