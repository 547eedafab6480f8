/* A function in C: the average of the last N values, from `{"value":21.5}` or `21.5`.
 *
 *     cc -O2 -o average average.c
 *
 * Its argument is N. The answer is `{"average":21.4,"n":5}`. */
#include <stdio.h>

#include "frames.h"

#define MAX_VALUES 1000

static int parse(const struct frames_call *call, double *out)
{
    char text[1024], *p = text, *end;
    size_t n = call->payload_len < sizeof(text) - 1 ? call->payload_len : sizeof(text) - 1;

    if (n > 0)
        memcpy(text, call->payload, n);
    text[n] = '\0';
    if (strstr(p, "\"value\"") != NULL) {
        p = strstr(p, "\"value\"") + 7;
        p += strspn(p, " :");
    }
    *out = strtod(p, &end);
    return end > p ? 0 : -1;
}

int main(int argc, char **argv)
{
    static double values[MAX_VALUES];
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 10, n = 0;
    struct frames f;
    struct frames_call call;
    int r;

    if (size < 1 || size > MAX_VALUES) {
        fprintf(stderr, "average: expected a number from 1 to %d\n", MAX_VALUES);
        return 1;
    }
    if (frames_open(&f, "average 1") != 0)
        return 1;
    while ((r = frames_next(&f, &call)) > 0) {
        char text[64];
        double value, sum = 0;
        size_t have;

        if (parse(&call, &value) != 0) {
            r = frames_fail(&f, &call, "there is no number in the message", "InvalidArgument");
        } else {
            values[n++ % size] = value;
            have = n < size ? n : size;
            for (size_t i = 0; i < have; i++)
                sum += values[i];
            snprintf(text, sizeof(text), "{\"average\":%.6g,\"n\":%zu}", sum / (double)have,
                     have);
            r = frames_reply(&f, &call, text, strlen(text));
        }
        if (r != 0)
            return 1;
    }
    return r == 0 ? 0 : 1;
}
