/* The words of libyaml in the words of the mistakes that people make: a tab, a quote that
 * is not closed, a list that moved. The first row that fits is told. Failure modes: none;
 * without a row the library's own words are told. */
#include "core/yaml_hint.h"

#include <string.h>

struct row {
    const char *problem, *context; /* parts of them; NULL: any */
    const char *chars;             /* one of these at the place; NULL: any */
    struct bt_yaml_hint hint;
};

static const struct row rows[] = {
    { NULL, NULL, "\t", { "a tab cannot indent; use spaces", false } },
    { "cannot start any token",
      NULL,
      "@`%",
      { "a text that begins with @, ` or % has to be quoted", false } },
    { NULL,
      "scanning an alias",
      NULL,
      { "a text that begins with * has to be quoted", true } },
    { NULL,
      "scanning an anchor",
      NULL,
      { "a text that begins with & has to be quoted", true } },
    { "end of stream",
      "quoted scalar",
      NULL,
      { "the quote that begins here is not closed", true } },
    { "escape",
      "quoted scalar",
      NULL,
      { "a backslash in double quotes begins a special character; use single quotes",
        false } },
    { "mapping values are not allowed",
      NULL,
      NULL,
      { "a \": \" in a text, which has to be quoted then; or this line is indented too "
        "far",
        false } },
    { "'-' indicator",
      "block collection",
      NULL,
      { "the indentation does not fit: a list that began before is not ended and not "
        "continued by \"- \" here",
        false } },
    { "expected key",
      "block mapping",
      NULL,
      { "expected \"key: value\", with the indentation of the keys above", false } },
    { "',' or ']'",
      "flow sequence",
      NULL,
      { "the list that begins with [ here is not closed, or a comma is missing in it",
        true } },
    { "',' or '}'",
      "flow mapping",
      NULL,
      { "the mapping that begins with { here is not closed, or a comma is missing in it",
        true } },
    { "node content",
      "flow node",
      NULL,
      { "a value is missing, or a [ or { is not closed; # begins a comment unless it is "
        "quoted",
        false } },
    { "could not find expected ':'",
      NULL,
      NULL,
      { "this line has no \": \" behind its key", true } },
};

static bool fits(const char *part, const char *text)
{
    return part == NULL || (text != NULL && strstr(text, part) != NULL);
}

const struct bt_yaml_hint *bt_yaml_hint(const char *problem, const char *context, char c)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        bool here = r->chars == NULL || (c != '\0' && strchr(r->chars, c) != NULL);

        if (here && fits(r->problem, problem) && fits(r->context, context))
            return &r->hint;
    }
    return NULL;
}
