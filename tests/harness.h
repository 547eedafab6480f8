/* Unit tests: TEST(name) { } registers itself. CHECK* report file:line and end the test,
 * SKIP("why") counts it (a program of skips exits 77); both from the test's thread only.
 * Options: -s SEED for test_random(), NAME... runs those only. */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct test_case {
    const char *name;
    void (*fn)(void);
    struct test_case *next;
};
static struct test_case *test_first_, **test_last_ = &test_first_;
static jmp_buf test_end_; /* 1 = failed, 2 = skipped */
static uint64_t test_seed_;
#define TEST(name_)                                                             \
    static void test_##name_(void);                                             \
    static struct test_case test_case_##name_ = { #name_, test_##name_, NULL }; \
    __attribute__((constructor)) static void test_register_##name_(void)        \
    {                                                                           \
        *test_last_ = &test_case_##name_;                                       \
        test_last_ = &test_case_##name_.next;                                   \
    }                                                                           \
    static void test_##name_(void)
#define TEST_END_(code, ...)                   \
    do {                                       \
        printf("%s:%d: ", __FILE__, __LINE__); \
        printf(__VA_ARGS__), printf("\n");     \
        longjmp(test_end_, code);              \
    } while (0)
#define SKIP(why)   TEST_END_(2, "skipped: %s", (why))
#define CHECK(cond) ((cond) ? (void)0 : test_failed_(__FILE__, __LINE__, #cond))
#define CHECK_INT(got, want)                                              \
    do {                                                                  \
        long long got_ = (long long)(got), want_ = (long long)(want);     \
        if (got_ != want_)                                                \
            TEST_END_(1, "%s is %lld, expected %lld", #got, got_, want_); \
    } while (0)
#define CHECK_STR(got, want)                                                            \
    do {                                                                                \
        const char *got_ = (got), *want_ = (want);                                      \
        if (strcmp(got_ ? got_ : "(null)", want_ ? want_ : "(null)") != 0)              \
            TEST_END_(1, "%s is \"%s\", expected \"%s\"", #got, got_ ? got_ : "(null)", \
                      want_ ? want_ : "(null)");                                        \
    } while (0)
#define CHECK_MEM(got, want, n) CHECK(memcmp((got), (want), (n)) == 0)

static inline void test_failed_(const char *at, int line, const char *what)
{
    printf("%s:%d: failed: %s\n", at, line, what);
    longjmp(test_end_, 1);
}

/* splitmix64: the same numbers for the same seed. */
static inline uint64_t test_random(void)
{
    uint64_t z = test_seed_ += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int main(int argc, char **argv)
{
    static uint64_t seed; /* all static: longjmp leaves them alone */
    static int count[3];  /* passed, failed, skipped */
    static struct test_case *t;
    static int i, end;

    seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
    while ((i = getopt(argc, argv, "s:")) == 's')
        seed = strtoull(optarg, NULL, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    for (t = test_first_; t != NULL; t = t->next) {
        for (i = optind; i < argc && strcmp(argv[i], t->name) != 0; i++)
            ;
        if (optind < argc && i == argc)
            continue;
        test_seed_ = seed;
        end = setjmp(test_end_);
        if (end == 0)
            t->fn();
        else
            printf("%s %s\n", end == 1 ? "FAIL" : "skip", t->name);
        count[end]++;
    }
    printf("%d passed, %d failed, %d skipped\n", count[0], count[1], count[2]);
    return count[1] != 0 ? 1 : count[0] == 0 && count[2] != 0 ? 77 : 0;
}

#endif
