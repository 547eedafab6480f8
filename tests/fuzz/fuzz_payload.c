/* Any bytes: what counts as JSON is what the parser reads. It refuses halves of surrogate
 * pairs written as escapes, which are well-formed texts all the same (RFC 8259 section
 * 8.2), and has no limit of depth. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "funcmgr/calls/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count(const uint8_t *data, size_t size, const char *letters)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += strchr(letters, data[i]) != NULL && data[i] != 0 ? 1 : 0;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bt_slice text = { data, size };
    struct bt_json *json = NULL;
    bool ours, theirs;

    if (size > FM_PAYLOAD_JSON_CHECK)
        return 0;
    ours = fm_payload_is_json(text);
    theirs = bt_json_parse(text, &json) == 0;
    bt_json_free(json);
    if (ours && !theirs && memmem(data, size, "\\u", 2) == NULL)
        abort();
    if (theirs && !ours && count(data, size, "[{") <= FM_PAYLOAD_MAX_DEPTH)
        abort();
    return 0;
}
