/* GET /v1/functions and GET /v1/functions/NAME. */
#include "funcmgr/calls.h"

void fm_http_list(void *arg, struct bt_api_req *req)
{
    (void)arg;
    bt_api_refuse(req, 503, "later");
}
void fm_http_one(void *arg, struct bt_api_req *req)
{
    (void)arg;
    bt_api_refuse(req, 503, "later");
}
