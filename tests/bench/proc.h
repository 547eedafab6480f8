/* What the kernel counts about the server's process, from /proc. */
#ifndef TESTS_BENCH_PROC_H
#define TESTS_BENCH_PROC_H

#include <sys/types.h>

struct proc_stats {
    double cpu_s;                 /* user and system time of all threads so far */
    long rss_kb, peak_kb, pss_kb; /* resident now and at most; shared pages divided */
};

/* All zero when the process is gone or pid is 0. */
void proc_read(pid_t pid, struct proc_stats *out);

#endif
