/* The sources of the function runtimes, made part of the executable by the build.
 * Constant data, any thread. Each is followed by a NUL that the length does not count. */
#ifndef RUNTIME_EMBED_RUNTIME_EMBED_H
#define RUNTIME_EMBED_RUNTIME_EMBED_H

#include <stddef.h>

extern const unsigned char re_python_source[]; /* runtime-embed/runtime.py */
extern const size_t re_python_source_len;
extern const unsigned char re_node_source[]; /* runtime-embed/runtime.js */
extern const size_t re_node_source_len;

#endif
