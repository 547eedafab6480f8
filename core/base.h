/* Small language helpers every file may use: ownership, checking, sizes. No state, any
 * thread. */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
