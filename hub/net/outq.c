/* Output chain. A chunk either carries its own bytes or points at a message's payload and
 * holds a reference on the message. The first chunk is small because most connections
 * send little; a connection that is busy gets large ones. An idle connection has none.
 *
 * Happy path: room() for each packet of a loop turn, one writev at its end, all chunks
 * freed. Failure modes: out of memory (the caller closes the connection), a full socket
 * (the rest stays). */
#include "hub/net/outq.h"

#include <string.h>

#include "core/copy.h"
#include "core/error.h"
#include "core/mem.h"
#include "hub/session/quota.h"

#define FIRST_CHUNK 1984u
#define LARGE_CHUNK 32704u
#define MAX_IOV     64

struct hub_chunk {
    struct hub_chunk *next;
    struct hub_msg *msg; /* NULL: own bytes */
    const uint8_t *ptr;  /* next byte to write */
    uint32_t len;        /* bytes left */
    uint32_t used, cap;  /* own bytes */
    uint8_t data[];
};

static struct hub_chunk *push_chunk(struct hub_outq *q, size_t cap)
{
    struct hub_chunk *k = bt_malloc(sizeof(*k) + cap);

    if (k == NULL)
        return NULL;
    hub_quota_charge((int64_t)(sizeof(*k) + cap));
    k->next = NULL;
    k->msg = NULL;
    k->ptr = k->data;
    k->len = 0;
    k->used = 0;
    k->cap = (uint32_t)cap;
    if (q->tail == NULL)
        q->head = k;
    else
        q->tail->next = k;
    q->tail = k;
    return k;
}

uint8_t *hub_outq_room(struct hub_outq *q, size_t n)
{
    struct hub_chunk *k = q->tail;
    uint8_t *at;

    if (k == NULL || k->cap - k->used < n) {
        size_t cap = q->head == NULL ? FIRST_CHUNK : LARGE_CHUNK;

        k = push_chunk(q, BT_MAX(cap, n));
        if (k == NULL)
            return NULL;
    }
    at = k->data + k->used;
    k->used += (uint32_t)n;
    k->len += (uint32_t)n;
    q->bytes += n;
    return at;
}

int hub_outq_bytes(struct hub_outq *q, const void *p, size_t n)
{
    uint8_t *at;

    if (n == 0)
        return 0;
    at = hub_outq_room(q, n);
    if (at == NULL)
        return BT_ENOMEM;
    bt_copy(at, p, n);
    return 0;
}

int hub_outq_payload(struct hub_outq *q, struct hub_msg *msg)
{
    struct hub_chunk *k;
    struct bt_slice payload = hub_msg_payload(msg);

    if (payload.len < HUB_OUTQ_REF_MIN)
        return hub_outq_bytes(q, payload.ptr, payload.len);
    k = push_chunk(q, 0);
    if (k == NULL)
        return BT_ENOMEM;
    k->msg = hub_msg_ref(msg);
    k->ptr = payload.ptr;
    k->len = (uint32_t)payload.len;
    q->bytes += payload.len;
    return 0;
}

static void pop_chunk(struct hub_outq *q)
{
    struct hub_chunk *k = q->head;

    q->head = k->next;
    if (q->head == NULL)
        q->tail = NULL;
    hub_msg_unref(k->msg);
    hub_quota_charge(-(int64_t)(sizeof(*k) + k->cap));
    bt_free(k);
}

static void consume(struct hub_outq *q, size_t n)
{
    q->bytes -= n;
    while (q->head != NULL && n >= q->head->len) {
        n -= q->head->len;
        pop_chunk(q);
    }
    if (n > 0) {
        q->head->ptr += n;
        q->head->len -= (uint32_t)n;
    }
}

int hub_outq_flush(struct hub_outq *q, struct hub_stream *s, int fd)
{
    while (q->head != NULL) {
        struct iovec iov[MAX_IOV];
        int n_iov = 0;
        ssize_t n;

        for (struct hub_chunk *k = q->head; k != NULL && n_iov < MAX_IOV; k = k->next) {
            iov[n_iov].iov_base = (void *)(uintptr_t)k->ptr;
            iov[n_iov++].iov_len = k->len;
        }
        n = hub_stream_write(s, fd, iov, n_iov);
        if (n <= 0)
            return n == 0 ? HUB_OUTQ_AGAIN : (int)n;
        consume(q, (size_t)n);
    }
    return 0;
}

void hub_outq_deinit(struct hub_outq *q)
{
    while (q->head != NULL)
        pop_chunk(q);
    q->bytes = 0;
}
