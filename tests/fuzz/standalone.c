/* A driver for the fuzz targets where libFuzzer is not to be had.
 *
 *   target SECONDS [CORPUS]
 *
 * Feeds every file of the corpus, then mutations of random ones until the time is up.
 * The seed is fixed, so a crash comes again; the input being tried is in no file: run
 * the target under a debugger to see it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_FILES 4096
#define MAX_INPUT 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t *data;
    size_t len;
};

static struct input inputs[MAX_FILES];
static size_t n_inputs;
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void load(const char *folder, const char *name)
{
    char path[4096];
    FILE *f;
    struct input *in = &inputs[n_inputs];

    if (name[0] == '.' || n_inputs == MAX_FILES)
        return;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "rb");
    in->data = malloc(MAX_INPUT);
    if (f == NULL || in->data == NULL)
        exit(2);
    in->len = fread(in->data, 1, MAX_INPUT, f);
    fclose(f);
    n_inputs++;
}

static void load_all(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    if (dir == NULL)
        exit(2);
    while ((entry = readdir(dir)) != NULL)
        load(folder, entry->d_name);
    closedir(dir);
}

/* The input is an exact allocation, so that a sanitizer sees one byte too far. */
static void try_one(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        exit(2);
    if (len > 0)
        memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void mutate_one(void)
{
    static uint8_t work[MAX_INPUT];
    const struct input *in = &inputs[next_random() % n_inputs];
    size_t len = in->len;
    uint64_t edits = next_random() % 8;

    memcpy(work, in->data, len);
    for (uint64_t i = 0; i < edits && len > 0; i++) {
        switch (next_random() % 3) {
        case 0:
            work[next_random() % len] = (uint8_t)next_random();
            break;
        case 1:
            work[next_random() % len] ^= (uint8_t)(1u << (next_random() % 8));
            break;
        default:
            len = (size_t)(next_random() % (len + 1));
            break;
        }
    }
    try_one(work, len);
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 20);
    unsigned long runs = 0;

    if (argc > 2)
        load_all(argv[2]);
    try_one(NULL, 0);
    for (size_t i = 0; i < n_inputs; i++)
        try_one(inputs[i].data, inputs[i].len);
    for (; n_inputs > 0 && time(NULL) < end; runs++)
        mutate_one();
    for (size_t i = 0; i < n_inputs; i++)
        free(inputs[i].data);
    printf("stat::number_of_executed_units: %lu\n", runs);
    return 0;
}
