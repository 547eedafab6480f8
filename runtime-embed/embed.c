/* Build tool: turns one runtime's source into a C array.
 *
 *   embed py runtime.py runtime_more.py >runtime_py.c
 *
 * A line `#-#` stands between two files. Runs on the build machine; nothing of it is in
 * the executable. */
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

/* The bytes of one file, `len` so far. Returns how many there are then, 0 on failure. */
static size_t put_file(const char *path, size_t len)
{
    FILE *in = fopen(path, "rb");
    int c;

    if (in == NULL)
        return 0;
    for (; (c = getc(in)) != EOF; len++)
        printf("%s%d,", len % 20 == 0 ? "\n    " : "", c);
    c = ferror(in);
    return fclose(in) != 0 || c != 0 ? 0 : len;
}

static size_t put_separator(size_t len)
{
    static const char separator[] = "#-#\n";

    for (const char *p = separator; *p != '\0'; p++, len++)
        printf("%s%d,", len % 20 == 0 ? "\n    " : "", *p);
    return len;
}

int main(int argc, char **argv)
{
    const char *name = argc >= 3 ? runtime_name(argv[1]) : NULL;
    size_t len = 0;

    if (name == NULL) {
        fprintf(stderr, "usage: embed py|js FILE...\n");
        return 2;
    }
    printf("#include <stddef.h>\n\n"
           "extern const unsigned char re_%s_source[];\n"
           "extern const size_t re_%s_source_len;\n\n"
           "const unsigned char re_%s_source[] = {",
           name, name, name);
    for (int i = 2; i < argc; i++) {
        if (i > 2)
            len = put_separator(len);
        len = put_file(argv[i], len);
        if (len == 0)
            return 1;
    }
    /* The trailing zero lets the source be used as a string; it is not counted. */
    printf("\n    0\n};\nconst size_t re_%s_source_len = %zu;\n", name, len);
    return fflush(stdout) != 0;
}
