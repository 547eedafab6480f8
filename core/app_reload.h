/* A new configuration for modules that run. Main thread. */
#ifndef CORE_APP_RELOAD_H
#define CORE_APP_RELOAD_H

#include "core/app_conf.h"
#include "core/super.h"

struct bt_app_run {
    struct bt_app *first;   /* what the process was started with; lives as long as it */
    const char *file;       /* as given at the start; NULL: there was none */
    unsigned chosen;        /* modules named on the command line, 0 = none */
    struct bt_super *super; /* runs the modules of `first` */
};

/* Read the file again, whole. When it is right, the log and every module that knows how
 * take it over, and what needs a restart is named; when it is wrong, the log says where
 * and why and nothing changes. The log file is opened again in both cases. */
void bt_app_reload(struct bt_app_run *run);

#endif
