/* What the process answers by itself on the control socket. */
#include "core/api.h"
#include "core/json_put.h"
#include "core/metric.h"
#include "core/version.h"

#define PROMETHEUS_TEXT "text/plain; version=0.0.4; charset=utf-8"

static void get_metrics(void *arg, struct bt_api_req *req)
{
    struct bt_buf b = { 0 };

    (void)arg;
    bt_metric_refresh();
    if (bt_metric_text(&b) == 0)
        bt_api_answer(req, 200, PROMETHEUS_TEXT, &b);
    else
        bt_api_refuse(req, 503, "out of memory");
    bt_buf_deinit(&b);
}

static void get_version(void *arg, struct bt_api_req *req)
{
    struct bt_buf b = { 0 };

    (void)arg;
    if (bt_buf_append_str(&b, "{\"version\":") == 0 &&
        bt_json_put_str(&b, BT_VERSION) == 0 &&
        bt_buf_append_str(&b, ",\"revision\":") == 0 &&
        bt_json_put_str(&b, BT_REVISION) == 0 && bt_buf_append_str(&b, "}\n") == 0)
        bt_api_answer(req, 200, BT_API_JSON, &b);
    else
        bt_api_refuse(req, 503, "out of memory");
    bt_buf_deinit(&b);
}

int bt_api_add_core(struct bt_api *api)
{
    static const struct bt_api_route routes[] = {
        { .method = "GET", .path = "/metrics", .handle = get_metrics },
        { .method = "GET", .path = "/v1/version", .handle = get_version },
    };

    return bt_api_add(api, routes, BT_ARRAY_LEN(routes), NULL);
}
