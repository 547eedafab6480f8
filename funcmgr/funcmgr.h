/* The function manager's public face: its configuration and its module table entry.
 * Configuration is read-only after parsing; any thread may read it. */
#ifndef FUNCMGR_FUNCMGR_H
#define FUNCMGR_FUNCMGR_H

#include "core/conf.h"
#include "core/module.h"

/* Named maxima. */
#define FM_MAX_INSTANCES   100u /* per function */
#define FM_MAX_CONCURRENCY 1024u
#define FM_MAX_ARGS        64u   /* of exec's program */
#define FM_MAX_FUNCTIONS   1024u /* functions and, separately, rules */
#define FM_MAX_MESSAGE     ((uint64_t)256 * 1024 * 1024) /* bytes of one frame */

enum fm_mqtt_version { FM_MQTT_AUTO, FM_MQTT_5, FM_MQTT_311 };
/* A `hub` block: the hub of this process, or a broker elsewhere (fm_hub_is_remote). Of
 * the hub of this process only the login, the session and the interval matter. */
struct fm_hub_conf {
    char *address; /* NULL: the hub of this process */
    char *username, *password;
    char *clientid;
    bool cleansession;
    int64_t interval;  /* ms, the longest time between two attempts to open a session */
    int64_t timeout;   /* ms for connecting, and for each answer */
    int64_t keepalive; /* ms; 0 or less: off */
    int64_t sessionexpiry; /* ms that the broker keeps the session; 0 = for ever */
    uint32_t maxinflight;  /* unacknowledged messages; 0 = as many as can run, and 8 */
    uint32_t version;      /* enum fm_mqtt_version */
    char *ca, *cert, *key; /* PEM files; NULL = none */
    bool insecure;
    char *ignored_str;
    bool ignored_bool;
    int64_t ignored_ms;
    uint32_t ignored_u32;
    struct bt_conf_strings ignored_strings;
};

struct fm_topic_conf {
    char *topic;
    uint32_t qos; /* 0 to 2 */
};

/* What is tried again: a call whose instance broke, or any that failed. */
enum fm_retry { FM_RETRY_INSTANCE, FM_RETRY_ANY };

struct fm_rule_conf {
    char *clientid;
    struct fm_hub_conf own_hub;
    const struct fm_hub_conf *hub; /* own_hub when it is written, else that of all */
    struct fm_topic_conf subscribe, publish;
    struct fm_topic_conf deadletter; /* of error messages; no topic: as publish */
    char *function;                  /* name; check makes sure that it exists */
    uint32_t retry_max;              /* attempts in total, 1..100 */
    uint32_t retry_on;               /* enum fm_retry */
    int64_t retry_delay;             /* ms before the second attempt, 0 = none; doubles */
    int64_t retry_delay_max;         /* ms */
};

/* Messages of one topic: all at once, or one after the other. */
enum fm_order_kind { FM_ORDER_NONE, FM_ORDER_STRICT };
/* What a function may use; 0 = no limit. */
struct fm_limits_conf {
    uint64_t memory;    /* bytes */
    char *cpu;          /* as written: 0.5 or 50% */
    uint32_t cpu_milli; /* thousandths of one processor */
    uint32_t pids;      /* processes and threads */
    uint32_t files;     /* open files of one process */
    uint32_t log_rate;  /* printed lines a second */
    uint64_t log_line;  /* bytes of a printed line */
};

/* Which files it may see. */
struct fm_sandbox_conf {
    bool enable;
    char *data;                         /* NULL or the folder it may write to */
    struct bt_conf_strings read, write; /* more files and folders */
};

enum fm_backend_choice {
    FM_BACKEND_AUTO,
    FM_BACKEND_CGROUP2,
    FM_BACKEND_CGROUP1,
    FM_BACKEND_RLIMIT,
};

/* When new code is loaded: by itself and at SIGHUP, at SIGHUP only, never. */
enum fm_reload { FM_RELOAD_AUTO, FM_RELOAD_SIGNAL, FM_RELOAD_OFF };
enum fm_fork_kind { FM_FORK_AUTO, FM_FORK_ON, FM_FORK_OFF };

struct fm_function_conf {
    char *name;
    char *runtime; /* python, python3.11, node, /usr/bin/python3, ..., sql, exec */
    char *handler; /* file.function; for sql the statement, for exec the program */
    char *codedir; /* relative to the working directory, or absolute */
    struct bt_conf_strings args; /* of exec's program */
    char *workdir; /* of instances, relative as codedir; NULL: the working directory */
    char *service;
    struct bt_conf_strings env; /* NAME=value */
    uint32_t min, max;          /* instances; 0 <= min <= max, 1 <= max */
    uint32_t spare;             /* idle instances beyond the busy ones, 0..100 */
    uint32_t concurrency;       /* calls that run at once in an instance, 1.. */
    uint32_t order;             /* enum fm_order_kind */
    uint32_t reload;            /* enum fm_reload */
    uint32_t fork;              /* enum fm_fork_kind */
    int64_t idle;               /* ms an instance above min may be idle */
    int64_t evict;              /* ms between two looks at idle instances */
    uint64_t max_message;       /* bytes of one frame, both ways */
    uint64_t max_message_alias; /* the same under `instance`, as the manual had it */
    int64_t backoff_max;        /* ms, the longest time between two failing starts */
    int64_t timeout;            /* ms for a start, and for a call */
    bool calls_mqtt;            /* may be called at the topic of `calls` */
    bool calls_http;            /* may be called at the addresses of `http` */
    char *user;                 /* NULL or NAME, UID, UID:GID */
    struct fm_limits_conf limits;
    struct fm_sandbox_conf sandbox;
};

/* The `http` block. */
struct fm_http_conf {
    struct bt_conf_strings listen;
    char *token, *tokenfile; /* check makes sure there is one where it is needed */
    char *cert, *key, *ca;
    uint32_t connections;
    int64_t timeout; /* ms for a whole request to arrive */
};

/* The `calls` block. */
struct fm_requests_conf {
    char *topic;  /* NULL or "": none; else with the level {name} */
    uint32_t qos; /* 0..2 */
    char *clientid;
};

struct fm_conf {
    struct fm_hub_conf hub;
    struct bt_conf_list rules;     /* struct fm_rule_conf */
    struct bt_conf_list functions; /* struct fm_function_conf */
    struct fm_http_conf http;
    struct fm_requests_conf calls;
    uint32_t limits_backend; /* enum fm_backend_choice */
    char *server_address;
    char *ignored_str;
    int64_t ignored_ms;
    uint64_t ignored_bytes;
    uint32_t ignored_u32;
};

struct hub;
/* Whether the block means a broker that is not the hub of this process (NULL: there is
 * none). Any thread. */
bool fm_hub_is_remote(const struct fm_hub_conf *c, const struct hub *hub);

extern const struct bt_conf_table fm_conf_table;
/* For `baetyl check`: code folders and interpreters. */
void fm_conf_check_files(struct bt_conf_ctx *ctx, const void *conf);
extern const struct bt_module_ops fm_module; /* name "funcmgr" */

#endif
