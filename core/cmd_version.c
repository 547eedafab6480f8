/* `baetyl version`: the lines that the original printed, with the C compiler's. */
#include <stdio.h>

#include "core/cli.h"
#include "core/version.h"

int bt_cmd_version(int argc, char **argv)
{
    static const struct bt_cli_usage usage = {
        .name = "version",
        .args = "",
        .about = "Print the version, the revision it was built from, and the platform.",
    };
    int first = bt_cli_parse(&usage, argc, argv, NULL);

    if (first < 0)
        return bt_cli_status(first);
    if (first < argc)
        return bt_cli_complain(&usage, "unexpected \"%s\"", argv[first]);
    printf("Version:      %s\nGit revision: %s\nC compiler:   %s\nPlatform:     %s\n\n",
           BT_VERSION, BT_REVISION, __VERSION__, BT_PLATFORM);
    return BT_CLI_OK;
}
