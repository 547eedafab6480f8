/* What a folder of code looks like: a number that changes when the code does. Any thread;
 * reads the disk. */
#ifndef FUNCMGR_WATCH_SCAN_H
#define FUNCMGR_WATCH_SCAN_H

#include "core/base.h"

/* Named maxima of one folder. */
#define FM_SCAN_DIRS  512u
#define FM_SCAN_FILES 16384u
#define FM_SCAN_DEPTH 16u

struct fm_scan {
    uint64_t code;        /* names, sizes and times of the files that are code */
    uint64_t all;         /* the same of every file but temporary ones */
    unsigned dirs, files; /* that were looked at */
    bool cut;             /* there is more than the maxima */
    void *arg;
    void (*dir)(void *arg, const char *path); /* each folder; may be NULL */
};

/* Set arg and dir; the rest is the result. false: the folder cannot be read. */
bool fm_scan(struct fm_scan *s, const char *dir);
/* Whether a file of this name may be code: .py, .js, .mjs, .cjs, .so, .node, .wasm,
 * package.json, or, of a program, a name without a suffix. Not what editors and
 * interpreters leave behind. */
bool fm_scan_is_code(const char *name);
/* Temporary: hidden files, __pycache__, *.pyc, *~, *.swp, *.tmp, *.part and the like. */
bool fm_scan_is_temporary(const char *name);

#endif
