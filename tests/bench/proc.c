/* Reads /proc/PID/stat, status and smaps_rollup. A file that is not there leaves its
 * numbers 0. */
#include "tests/bench/proc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The number after `key` at the start of a line. */
static long field(pid_t pid, const char *file, const char *key)
{
    char path[64], line[256];
    long value = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0 &&
            sscanf(line + strlen(key), "%ld", &value) == 1)
            break;
    fclose(f);
    return value;
}

static double cpu_seconds(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    char *p;
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    /* The name in parentheses may hold blanks. */
    p = strrchr(text, ')');
    if (p == NULL || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

void proc_read(pid_t pid, struct proc_stats *out)
{
    memset(out, 0, sizeof(*out));
    if (pid == 0)
        return;
    out->cpu_s = cpu_seconds(pid);
    out->rss_kb = field(pid, "status", "VmRSS:");
    out->peak_kb = field(pid, "status", "VmHWM:");
    out->pss_kb = field(pid, "smaps_rollup", "Pss:");
}
