/* The version of the program. The build may give BT_REVISION on the command line. Any
 * thread. */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

#include <stdint.h>

#define BT_VERSION "0.2.0"
#ifndef BT_REVISION
#    define BT_REVISION "unknown"
#endif
/* When this was built, in seconds since 1970; certificates are never checked with an
 * earlier time. The build gives the time of the last commit. */
#ifndef BT_BUILD_TIME
#    define BT_BUILD_TIME INT64_C(1767225600) /* 2026-01-01 */
#endif

#if defined(__x86_64__)
#    define BT_PLATFORM_CPU "amd64"
#elif defined(__aarch64__)
#    define BT_PLATFORM_CPU "arm64"
#elif defined(__arm__)
#    define BT_PLATFORM_CPU "arm/v7"
#else
#    define BT_PLATFORM_CPU "unknown"
#endif
#if defined(__APPLE__)
#    define BT_PLATFORM "darwin/" BT_PLATFORM_CPU
#else
#    define BT_PLATFORM "linux/" BT_PLATFORM_CPU
#endif

#endif
