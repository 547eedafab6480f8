/* The load generator's parts: options, result, the two families of scenarios. */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include <stdio.h>

#include "tests/bench/conn.h"
#include "tests/bench/hist.h"
#include "tests/bench/proc.h"

struct options {
    const char *scenario, *prefix; /* of topics */
    uint16_t port;
    pid_t pid; /* the server, 0 = unknown */
    double seconds, warmup;
    unsigned window;  /* unanswered messages of one publisher, 0 = the scenario's */
    unsigned payload; /* bytes */
    unsigned connections;
    unsigned rate; /* a second: latency: messages of one publisher; idle: logins */
    unsigned each; /* call: only each so many-th message has a result */
    bool tls;
    uint8_t qos; /* instead of the scenario's own, when given */
    bool qos_given;
};

struct result {
    uint64_t sent, delivered, acked, lost, duplicates, foreign;
    double seconds, cpu_s, own_cpu_s;
    struct hist latency;
    struct proc_stats before, after;
    unsigned connections;
};

/* 0, or 1 when there is no such scenario in this family. Failures end the program. */
int traffic_run(const struct options *o, struct result *r); /* publish and count */
int churn_run(const struct options *o, struct result *r);   /* idle, connect */

#endif
