/* Allocation. Thin over malloc; the only way to allocate in our code, so that tests can
 * make the Nth allocation fail. Any thread. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include "core/base.h"

/* NULL when out of memory (nothing is logged; the caller decides). Size 0 is a bug. */
void *bt_malloc(size_t n) BT_MUST_CHECK;
void *bt_calloc(size_t n, size_t size) BT_MUST_CHECK;
/* On failure returns NULL and leaves p valid. */
void *bt_realloc(void *p, size_t n) BT_MUST_CHECK;
void bt_free(void *p);
char *bt_strdup(const char *s) BT_MUST_CHECK;
/* A NUL-terminated copy of n bytes. */
char *bt_strndup(const void *s, size_t n) BT_MUST_CHECK;
/* For bt_cleanup on a pointer of any type: frees *(void **)pp. */
void bt_freep(void *pp);

/* Tests: the nth allocation from now (1 = the next) and all later ones fail; 0 = none
 * fails. Process-wide. Returns whether one failed since the last call. */
bool bt_mem_fail_from(unsigned long nth);
/* The same, but only the nth fails. */
bool bt_mem_fail_once(unsigned long nth);

#endif
