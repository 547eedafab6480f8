/* What a YAML parser's complaint means to a person who wrote the file. No state, any
 * thread. */
#ifndef CORE_YAML_HINT_H
#define CORE_YAML_HINT_H

#include "core/base.h"

struct bt_yaml_hint {
    const char *text;  /* a sentence without its end */
    bool at_beginning; /* better told where the thing began than where it broke */
};

/* problem and context: libyaml's words, or NULL. c: the character at the place, 0 at the
 * end. NULL: no better words are known. */
const struct bt_yaml_hint *bt_yaml_hint(const char *problem, const char *context, char c);

#endif
