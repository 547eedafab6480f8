/* What an instance writes to its standard output and error, as lines in the log. One pipe
 * for both. The function manager's thread only. */
#ifndef FUNCMGR_OUTPUT_H
#define FUNCMGR_OUTPUT_H

#include "core/buf.h"
#include "core/loop.h"

#define FM_OUTPUT_LINE      1024u /* bytes of a line, when nothing else is said */
#define FM_OUTPUT_LINE_MAX  3072u
#define FM_OUTPUT_BURST     100u /* lines per window, when nothing else is said */
#define FM_OUTPUT_WINDOW_MS 1000u

struct fm_output {
    struct bt_loop *loop;
    const char *name; /* of the instance, borrowed */
    uint8_t *chunk;   /* FM_READ_CHUNK bytes, borrowed */
    int fd;           /* -1 when closed */
    struct bt_io io;
    unsigned max_lines; /* in a window; 0 = FM_OUTPUT_BURST; set before the start */
    size_t max_line;    /* bytes, the rest of a line is dropped; 0 = FM_OUTPUT_LINE */
    char line[FM_OUTPUT_LINE_MAX + 1];
    size_t len;
    uint64_t window; /* loop ms at which the window began */
    unsigned lines;  /* in this window */
    uint64_t held;   /* lines not logged */
};

/* Takes fd (not blocking). */
void fm_output_start(struct fm_output *o, struct bt_loop *loop, const char *name,
                     uint8_t *chunk, int fd);
/* Whether one more line may go to the log now; counted either way. */
bool fm_output_may(struct fm_output *o);
/* Several lines that the runtime has put a level to (as in a log frame), with a traceback
 * perhaps. They count as one line and are cut at FM_OUTPUT_REPORT lengths of a line. */
#define FM_OUTPUT_REPORT 3u
void fm_output_log(struct fm_output *o, uint32_t level, struct bt_slice text);
/* Log what is there, then close. Idempotent after a start; harmless when fd is -1. */
void fm_output_close(struct fm_output *o);

#endif
