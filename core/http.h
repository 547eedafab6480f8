/* HTTP/1.1 for small servers (RFC 9110, 9112): the head of a request, its body, the head
 * of an answer. Nothing is allocated and no socket is touched; slices point into the
 * bytes that were given. Where two readers of the same bytes could disagree about where a
 * request ends, it is refused. No state beyond the structs, any thread. */
#ifndef CORE_HTTP_H
#define CORE_HTTP_H

#include "core/buf.h"

#define BT_HTTP_MAX_HEAD    8192u /* request line and headers */
#define BT_HTTP_MAX_HEADERS 64u
/* A chunk's length with its extensions; the fields after the last chunk. */
#define BT_HTTP_MAX_CHUNK_LINE 256u
#define BT_HTTP_MAX_TRAILER    4096u

/* Not whole yet; every other condition is an HTTP status. */
#define BT_HTTP_MORE 1

struct bt_http_field {
    struct bt_slice name, value; /* the value without the white space around it */
};

struct bt_http_request {
    struct bt_slice method; /* letters' case counts */
    struct bt_slice path;   /* still percent-encoded; "*" for OPTIONS * */
    struct bt_slice query;  /* after the '?', still encoded; ptr NULL without one */
    uint8_t minor;          /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;        /* what the client wants after the answer */
    bool expect_continue;   /* it waits for "100 Continue" before it sends the body */
    bool chunked;           /* the body comes in chunks, content_length is 0 */
    uint64_t content_length;
    size_t head_len; /* where the body begins */
    uint32_t n_fields;
    struct bt_http_field fields[BT_HTTP_MAX_HEADERS];
};

/* The head of the request that starts at p. 0: *out is complete and valid while p is.
 * BT_HTTP_MORE: so far it is one; call again with more from the same start (that pays
 * only when a line feed has come, or more than BT_HTTP_MAX_HEAD bytes). Else the status
 * to answer with before closing: 400, 414, 417, 431, 501 or 505. */
int bt_http_parse(const uint8_t *p, size_t n, struct bt_http_request *out) BT_MUST_CHECK;

/* The value of the first field of this name (any case); ptr NULL when there is none. */
struct bt_slice bt_http_field(const struct bt_http_request *r, const char *name);
/* How many fields have this name. */
uint32_t bt_http_count(const struct bt_http_request *r, const char *name);
/* Whether one of the comma-separated words of the fields of this name is `token`, in any
 * case. */
bool bt_http_has_token(const struct bt_http_request *r, const char *name,
                       const char *token);
/* Takes the next word off a comma-separated list. False: none is left. */
bool bt_http_next_token(struct bt_slice *list, struct bt_slice *out);
/* Whether s is this text: exactly; in any case of its ASCII letters. */
bool bt_http_is(struct bt_slice s, const char *text);
bool bt_http_is_nocase(struct bt_slice s, const char *text);

/* ---- Body ---- */

struct bt_http_body {
    uint64_t left;  /* of this chunk or of the whole */
    uint64_t room;  /* what chunks may still bring */
    uint32_t taken; /* of the line or trailer being read */
    uint8_t state;
};

/* max: bytes of body that are taken. 0, or 413. */
int bt_http_body_init(struct bt_http_body *b, const struct bt_http_request *r,
                      uint64_t max) BT_MUST_CHECK;
/* Takes some of the n bytes at p, *used of them; *out is the piece of body among them,
 * maybe empty. 0: the body ended there. BT_HTTP_MORE: call again with what follows. Else
 * 400 or 413. */
int bt_http_body_feed(struct bt_http_body *b, const uint8_t *p, size_t n, size_t *used,
                      struct bt_slice *out) BT_MUST_CHECK;

/* ---- Text in the request ---- */

/* The value of the first `name=value` of a query, still encoded (names are compared as
 * they stand). False: not there. */
bool bt_http_query(struct bt_slice query, const char *name, struct bt_slice *out);
/* Percent-decodes s into out (room bytes, NUL-terminated); plus: '+' is a space, as in
 * queries. False: a wrong escape, a NUL byte, or no room. */
bool bt_http_decode(struct bt_slice s, bool plus, char *out, size_t room) BT_MUST_CHECK;

/* ---- Answers: all append to out and return 0, BT_ENOMEM or BT_ELIMIT. ---- */

/* "Not Found" for 404; "Unknown" for one that is not in the table. */
const char *bt_http_status_text(unsigned status);
int bt_http_put_status(struct bt_buf *out, unsigned status) BT_MUST_CHECK;
/* BT_EINVAL when value could not stand in a header (a line break). */
int bt_http_put_field(struct bt_buf *out, const char *name,
                      const char *value) BT_MUST_CHECK;
/* Content-Length, Connection and the empty line. */
int bt_http_put_end(struct bt_buf *out, uint64_t length, bool keep_alive) BT_MUST_CHECK;
/* A whole answer. type: media type of the body; a 204 has neither. */
int bt_http_put_answer(struct bt_buf *out, unsigned status, const char *type,
                       struct bt_slice body, bool keep_alive) BT_MUST_CHECK;

#endif
