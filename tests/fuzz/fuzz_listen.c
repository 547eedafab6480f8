/* Any text as a listen address: what is accepted keeps its bounds. And any text as a
 * duration or a size, and as a password or a permit of the hub's configuration. */
#include <stdlib.h>
#include <string.h>

#include "core/conf.h"
#include "hub/hub.h"
#include "hub/net/listen_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void try_url(const char *text)
{
    struct hub_listen_url url;

    if (hub_listen_url_parse(text, &url) != 0)
        return;
    require(memchr(url.host, '\0', sizeof(url.host)) != NULL);
    require(memchr(url.path, '\0', sizeof(url.path)) != NULL);
    require(url.kind != HUB_LISTEN_UNIX || url.path[0] == '/');
}

static void try_values(const char *text)
{
    uint64_t bytes;
    int64_t ms;

    (void)!bt_conf_parse_ms(text, &ms);
    (void)!bt_conf_parse_bytes(text, &bytes);
}

/* The hub's own table: every key, with all its checks. */
static void try_hub(const char *text, size_t n)
{
    struct bt_conf_ctx *ctx = bt_conf_new();
    struct hub_conf conf;
    struct bt_buf out = { 0 };

    require(ctx != NULL);
    if (bt_conf_load_text(ctx, "fuzz", text, n, &hub_conf_table, &conf) == 0)
        require(bt_conf_print(&hub_conf_table, &conf, &out) == 0);
    (void)bt_conf_messages(ctx);
    bt_buf_deinit(&out);
    bt_conf_free(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    try_url(text);
    try_values(text);
    try_hub(text, size);
    free(text);
    return 0;
}
