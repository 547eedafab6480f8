/* Build tool: turns one runtime's source into a C array.
 *
 *   embed py runtime.py >runtime_py.c
 *
 * Runs on the build machine; nothing of it is in the executable. */
#include <stdio.h>
#include <string.h>

struct name {
    const char *suffix;
    const char *runtime;
};

static const struct name names[] = {
    { "py", "python" },
    { "js", "node" },
};

static const char *runtime_name(const char *suffix)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].suffix, suffix) == 0)
            return names[i].runtime;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = argc == 3 ? runtime_name(argv[1]) : NULL;
    FILE *in = name != NULL ? fopen(argv[2], "rb") : NULL;
    size_t len = 0;
    int c;

    if (in == NULL) {
        fprintf(stderr, "usage: embed py|js FILE\n");
        return 2;
    }
    printf("#include <stddef.h>\n\n"
           "extern const unsigned char re_%s_source[];\n"
           "extern const size_t re_%s_source_len;\n\n"
           "const unsigned char re_%s_source[] = {",
           name, name, name);
    for (; (c = getc(in)) != EOF; len++)
        printf("%s%d,", len % 20 == 0 ? "\n    " : "", c);
    /* The trailing zero lets the source be used as a string; it is not counted. */
    printf("\n    0\n};\nconst size_t re_%s_source_len = %zu;\n", name, len);
    if (ferror(in) != 0 || fclose(in) != 0 || fflush(stdout) != 0)
        return 1;
    return 0;
}
