/* The version of the program. The build may give BT_REVISION on the command line. Any
 * thread. */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

#define BT_VERSION "0.2.0"
#ifndef BT_REVISION
#    define BT_REVISION "unknown"
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
