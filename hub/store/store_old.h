/* What the original hub left in the folder of the store. Main thread. */
#ifndef HUB_STORE_OLD_H
#define HUB_STORE_OLD_H

/* Logs when the original's files are in the folder: they are neither read nor removed. */
void hub_store_old_tell(const char *dir);

#endif
