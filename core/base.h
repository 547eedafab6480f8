/* Small language helpers every file may use: ownership, checking, sizes. No state, any
 * thread. */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The caller must look at the result. */
#define BT_MUST_CHECK __attribute__((warn_unused_result))
/* The compiler checks a printf-like call; f and a are parameter positions, from 1. */
#define BT_PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Run fn(&variable) when the variable leaves its scope. */
#define bt_cleanup(fn) __attribute__((cleanup(fn)))
/* Hand the value to the caller and disarm the cleanup. */
#define bt_steal(p)                 \
    __extension__({                 \
        __typeof__(p) steal_ = (p); \
        (p) = NULL;                 \
        steal_;                     \
    })
/* The struct of `type` whose `member` is at `ptr`. */
#define bt_container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define BT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define bt_likely(x)    __builtin_expect(!!(x), 1)
#define bt_unlikely(x)  __builtin_expect(!!(x), 0)
#define BT_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define BT_MAX(a, b)    ((a) > (b) ? (a) : (b))

/* Borrowed bytes: not NUL-terminated, not owned. ptr may be NULL when len is 0. */
struct bt_slice {
    const uint8_t *ptr;
    size_t len;
};

/* The bytes of a string; of NULL none. */
static inline struct bt_slice bt_slice_of(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, s != NULL ? strlen(s) : 0 };
}

/* Whether there is a string with anything in it. */
static inline bool bt_given(const char *s)
{
    return s != NULL && s[0] != '\0';
}

/* 0 to 15, or -1. */
static inline int bt_hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The order of the bytes, as with strcmp. */
static inline int bt_slice_compare(struct bt_slice a, struct bt_slice b)
{
    size_t n = BT_MIN(a.len, b.len);
    int c = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;

    return c != 0 || a.len == b.len ? c : a.len < b.len ? -1 : 1;
}

#endif
