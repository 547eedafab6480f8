/* How `baetyl sub` prints a message. One thread. */
#ifndef CORE_CMD_FORMAT_H
#define CORE_CMD_FORMAT_H

#include "core/mqtt.h"

#include <stdio.h>

/* The letters of a format, for the help. */
#define CMD_FORMAT_HELP                                                                \
    "\n-F takes %t topic, %p payload, %x payload in hex, %l its length, %q QoS,\n"     \
    "%r retained (0 or 1), %d repeated, %i packet identifier, %C content type,\n"      \
    "%R response topic, %D correlation data, %E expiry, %S subscription identifier,\n" \
    "%P user properties, %U seconds since 1970, %I UTC time, %% and \\n \\t \\\\ .\n"

/* Is every %x of the format known? *bad is the first letter that is not (0: the end). */
bool cmd_format_ok(const char *format, char *bad);
void cmd_format_print(FILE *out, const char *format, const struct bt_mqtt_packet *p);

#endif
