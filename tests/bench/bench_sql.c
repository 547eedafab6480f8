/* How many messages a second one thread puts through a statement, without the hub.
 *
 *   cc -O2 -D_GNU_SOURCE -I. -o bench_sql tests/bench/bench_sql.c \
 *       build/host/libbaetyl.a build/host/third_party/lib*.a -lm -pthread
 *   bench_sql [MESSAGES] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "funcmgr/sql/sql.h"

#define PAYLOAD                                                                       \
    "{\"id\":%d,\"device\":\"boiler-17\",\"time\":1795420917,\"temperature\":71.25,"  \
    "\"pressure\":1.013,\"unit\":{\"t\":\"C\",\"p\":\"bar\"},\"status\":\"running\"," \
    "\"tags\":[\"north\",\"hall 3\",\"line 2\"],\"serial\":\"A8-4471-00092-X\"}"

static double measure(const char *statement, int id, unsigned n)
{
    char payload[512];
    struct fm_message m = { .qos = 1, .topic = bt_slice_of("plant/boiler/17") };
    struct bt_buf why = { 0 };
    struct fm_sql *sql;
    struct bt_slice out;
    const char *error;
    uint64_t begin;

    snprintf(payload, sizeof(payload), PAYLOAD, id);
    m.payload = bt_slice_of(payload);
    if (fm_sql_new(statement, &sql, &why) != 0) {
        printf("%.*s\n", (int)why.len, (const char *)why.data);
        exit(1);
    }
    begin = bt_clock_us();
    for (unsigned i = 0; i < n; i++) {
        if (fm_sql_run(sql, &m, 4096, &out, &error) != 0)
            exit(1);
    }
    fm_sql_free(sql);
    return n * 1e6 / (double)(bt_clock_us() - begin);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *statement;
        int id;
    } rows[] = {
        { "pass", "select qos() as qos, topic() as topic, * where id < 10", 1 },
        { "drop", "select qos() as qos, topic() as topic, * where id < 10", 11 },
        { "copy", "select *", 1 },
        { "rich",
          "select device, round(temperature * 1.8 + 32, 1) as t.value, 'F' as t.unit, "
          "topic() || '/' || id as source where temperature between 20 and 90 and status "
          "in ('running', 'idle', 'starting') and device like 'boiler-%'",
          1 },
    };
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        printf("%s %.0f/s\n", rows[i].name, measure(rows[i].statement, rows[i].id, n));
    return 0;
}
