/* How fast the store's thread is, without sockets: entries per second by batch size, at
 * one and more receivers, then reading and deleting them, and the memory the process had
 * at most.
 *
 *   bench_store FOLDER [ENTRIES [RECEIVERS [BATCH]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/metric.h"
#include "hub/store/store.h"

#define WINDOW 16u /* batches submitted and not yet complete */

struct bench {
    struct hub_store *store;
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    uint64_t entries, next, done;
    uint32_t receivers, batch, n_free;
    bool removing;
    struct hub_ticket tickets[WINDOW];
    struct hub_ticket *free[WINDOW];
    uint32_t sizes[WINDOW];
};

static void add_message(struct bench *b, struct hub_batch *batch, struct hub_ticket *t)
{
    static const uint8_t payload[100];
    struct hub_pub pub = { .topic = { (const uint8_t *)"bench/topic", 11 },
                           .payload = { payload, sizeof(payload) },
                           .qos = 1 };
    struct hub_msg *m = b->removing ? NULL : hub_msg_new(&pub);
    uint32_t i;

    for (i = 1; i <= b->receivers; i++) {
        struct hub_op *op = hub_op_new(b->removing ? HUB_OP_DEQUEUE : HUB_OP_ENQUEUE, i);

        op->qseq = b->next;
        op->entry = m != NULL ? hub_qentry_new(m, b->next) : NULL;
        op->ticket = t;
        hub_batch_add(batch, op);
    }
    hub_msg_unref(m);
}

static void submit(struct bench *b)
{
    while (b->n_free > 0 && b->next <= b->entries) {
        struct hub_ticket *t = b->free[--b->n_free];
        struct hub_batch batch;
        uint32_t n;

        hub_batch_init(&batch);
        atomic_store(&t->pending, b->batch * b->receivers + 1);
        for (n = 0; n < b->batch && b->next <= b->entries; n++, b->next++)
            add_message(b, &batch, t);
        b->sizes[t - b->tickets] = n;
        atomic_fetch_sub(&t->pending, (b->batch - n) * b->receivers);
        hub_store_submit(b->store, &batch);
        hub_ticket_done(t, true);
    }
}

static void on_ticket(void *arg, struct bt_msg *msg)
{
    struct bench *b = arg;
    struct hub_ticket *t = bt_container_of(msg, struct hub_ticket, msg);

    b->done += b->sizes[t - b->tickets];
    b->free[b->n_free++] = t;
    submit(b);
    if (b->done == b->entries)
        bt_loop_stop(b->loop);
}

static void run(struct bench *b, const char *what)
{
    uint64_t began = bt_clock_us(), us;
    uint32_t i;

    b->next = 1;
    b->done = b->n_free = 0;
    for (i = 0; i < WINDOW; i++) {
        b->tickets[i].to = b->mbox;
        b->free[b->n_free++] = &b->tickets[i];
    }
    submit(b);
    bt_loop_run(b->loop);
    us = bt_clock_us() - began;
    printf("%-8s %8llu messages x %u, batches of %u: %9.0f rows/s\n", what,
           (unsigned long long)b->entries, b->receivers, b->batch,
           (double)(b->entries * b->receivers) * 1e6 / (double)us);
}

/* What the store counted: commits by their time, bytes, synchronisations. */
static void print_metrics(void)
{
    struct bt_buf text = { 0 };
    char *line, *rest;

    if (bt_metric_text(&text) == 0 && (rest = bt_buf_steal_str(&text)) != NULL) {
        while ((line = strsep(&rest, "\n")) != NULL)
            if (strncmp(line, "baetyl_store", 12) == 0)
                puts(line);
    }
    bt_buf_deinit(&text);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct hub_store_opts opts = { .dir = argc > 1 ? argv[1] : NULL, .memory = argc < 2 };
    struct rusage usage;

    b.entries = argc > 2 ? strtoull(argv[2], NULL, 10) : 200000;
    b.receivers = argc > 3 ? (uint32_t)atoi(argv[3]) : 1;
    b.batch = argc > 4 ? (uint32_t)atoi(argv[4]) : 250;
    b.loop = bt_loop_new("bench", false);
    b.mbox = bt_mbox_new(b.loop, on_ticket, &b);
    if (hub_store_open(&opts, &b.store) < 0 || hub_store_start(b.store) < 0)
        return 1;
    getrusage(RUSAGE_SELF, &usage);
    printf("open     %ld KB resident at most\n", usage.ru_maxrss);
    run(&b, "store");
    b.removing = true;
    run(&b, "remove");
    getrusage(RUSAGE_SELF, &usage);
    printf("after    %ld KB resident at most\n", usage.ru_maxrss);
    print_metrics();
    hub_store_stop(b.store);
    bt_mbox_free(b.mbox);
    bt_loop_free(b.loop);
    return 0;
}
