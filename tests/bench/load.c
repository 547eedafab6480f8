/* load: a workload against an MQTT server on loopback, one JSON line about it.
 *
 *   load -s SCENARIO -p PORT [-P PID] [-t SECONDS] [-u WARMUP] [-w WINDOW] [-l PAYLOAD]
 *        [-n CONNECTIONS] [-r RATE] [-q QOS] [-f PREFIX] [-T]
 *
 * Scenarios: fanin pairs fanout q1clean q1persist q2clean latency call idle connect. PID
 * is the server, whose CPU time and memory are read. -T: over TLS 1.3. Two generators on
 * one server need different prefixes of their topics. Exit status 0, 1 when it could not
 * be measured, 2 for wrong options. Loss and duplicates are in the line, the caller
 * judges them. */
#include "tests/bench/load.h"
#include "tests/bench/tls.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void usage(void)
{
    fprintf(
        stderr,
        "usage: load -s fanin|pairs|fanout|q1clean|q1persist|q2clean|latency|\n"
        "               call|idle|connect -p PORT [-P PID] [-t SECONDS]\n"
        "            [-u WARMUP] [-w WINDOW] [-l PAYLOAD] [-n CONNECTIONS] [-r RATE]\n"
        "            [-q QOS] [-f PREFIX] [-T] [-k EACH]\n");
    exit(2);
}

static void parse(int argc, char **argv, struct options *o)
{
    int option;

    while ((option = getopt(argc, argv, "s:p:P:t:u:w:l:n:r:q:f:Tk:")) != -1) {
        switch (option) {
        case 's':
            o->scenario = optarg;
            break;
        case 'p':
            o->port = (uint16_t)atoi(optarg);
            break;
        case 'P':
            o->pid = (pid_t)atoi(optarg);
            break;
        case 't':
            o->seconds = atof(optarg);
            break;
        case 'u':
            o->warmup = atof(optarg);
            break;
        case 'w':
            o->window = (unsigned)atoi(optarg);
            break;
        case 'l':
            o->payload = (unsigned)atoi(optarg);
            break;
        case 'n':
            o->connections = (unsigned)atoi(optarg);
            break;
        case 'r':
            o->rate = (unsigned)atoi(optarg);
            break;
        case 'f':
            o->prefix = optarg;
            break;
        case 'k':
            o->each = (unsigned)atoi(optarg);
            break;
        case 'T':
            o->tls = true;
            break;
        case 'q':
            o->qos = (uint8_t)atoi(optarg);
            o->qos_given = true;
            break;
        default:
            usage();
        }
    }
    if (o->scenario == NULL || o->port == 0)
        usage();
}

static double own_cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print(const struct options *o, const struct result *r)
{
    double cpu = r->after.cpu_s - r->before.cpu_s;
    double rate = r->seconds > 0 ? (double)r->delivered / r->seconds : 0;

    printf("{\"scenario\":\"%s\",\"connections\":%u,\"seconds\":%.3f,\"sent\":%llu,"
           "\"delivered\":%llu,\"acked\":%llu,\"lost\":%llu,\"duplicates\":%llu,"
           "\"foreign\":%llu,",
           o->scenario, r->connections, r->seconds, (unsigned long long)r->sent,
           (unsigned long long)r->delivered, (unsigned long long)r->acked,
           (unsigned long long)r->lost, (unsigned long long)r->duplicates,
           (unsigned long long)r->foreign);
    printf("\"rate\":%.0f,\"server_cpu_s\":%.2f,\"per_cpu_s\":%.0f,\"load_cpu_s\":%.2f,",
           rate, cpu, cpu > 0 ? (double)r->delivered / cpu : 0, own_cpu());
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,",
           (double)hist_quantile(&r->latency, 0.5) / 1e3,
           (double)hist_quantile(&r->latency, 0.99) / 1e3,
           (double)hist_quantile(&r->latency, 1) / 1e3);
    printf("\"rss_before_kb\":%ld,\"rss_kb\":%ld,\"peak_kb\":%ld,\"pss_before_kb\":%ld,"
           "\"pss_kb\":%ld}\n",
           r->before.rss_kb, r->after.rss_kb, r->after.peak_kb, r->before.pss_kb,
           r->after.pss_kb);
}

int main(int argc, char **argv)
{
    static struct options o = {
        .prefix = "b", .seconds = 3, .warmup = 0.5, .payload = 64, .connections = 1000
    };
    static struct result r;
    struct rlimit files;

    parse(argc, argv, &o);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (o.tls)
        tls_init();
    if (traffic_run(&o, &r) != 0 && churn_run(&o, &r) != 0)
        usage();
    print(&o, &r);
    return 0;
}
