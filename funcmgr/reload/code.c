/* From a change of code to new instances: the watch tells, the pool renews. Running calls
 * end on the old code; a new version that does not start leaves the old instances
 * serving, and the pool says why (funcmgr/pool/pool.h). */
#include "funcmgr/reload/code.h"

#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/process/instance.h"

static void on_news(struct fm_task *task)
{
    struct fm_watch_news *news = bt_container_of(task, struct fm_watch_news, task);
    const struct fm_calls_env *env = news->arg;
    struct fm_pool *pool = env->find(
        env->arg, (struct bt_slice){ (uint8_t *)news->name, strlen(news->name) });

    if (pool != NULL && !pool->closing) {
        bt_log(BT_LOG_INFO, "FUNC-RELOAD", "new code", "function=%s", news->name);
        fm_pool_renew(pool);
    }
    bt_free(news);
}

/* The caller frees *path. */
static bool make_item(const struct fm_function_conf *c, const char *work_dir,
                      struct fm_watch_item *item, char **path)
{
    struct bt_buf b = { 0 };

    if (c->codedir[0] != '/' && bt_buf_printf(&b, "%s/", work_dir) != 0)
        return false;
    if (bt_buf_append_str(&b, c->codedir) != 0) {
        bt_buf_deinit(&b);
        return false;
    }
    *path = bt_buf_steal_str(&b);
    *item = (struct fm_watch_item){ c->name, *path, c->reload == FM_RELOAD_AUTO };
    return *path != NULL;
}

int fm_code_watch(const struct fm_conf *conf, const char *work_dir,
                  const struct fm_calls_env *env, struct fm_watch *before,
                  struct fm_watch **out)
{
    const struct fm_function_conf *c = conf->functions.items;
    size_t max = conf->functions.n, n = 0;
    struct fm_watch_item *items = bt_calloc(max + 1, sizeof(*items));
    char **paths = bt_calloc(max + 1, sizeof(*paths));
    bool ok = items != NULL && paths != NULL;
    int r = ok ? 0 : BT_ENOMEM;

    for (size_t i = 0; ok && i < max; i++) {
        if (c[i].codedir == NULL || c[i].reload == FM_RELOAD_OFF)
            continue;
        ok = make_item(&c[i], work_dir, &items[n], &paths[n]);
        n++;
        r = ok ? 0 : BT_ENOMEM;
    }
    if (r == 0 && n > 0) {
        const struct fm_watch_opts opts = { .items = items,
                                            .n = n,
                                            .before = before,
                                            .to = env->mbox,
                                            .kind = FM_MSG_TASK,
                                            .arg = (void *)(uintptr_t)env,
                                            .run = on_news };

        r = fm_watch_new(&opts, out);
    } else if (r != 0) {
        r = bt_origin(r, "code cannot be watched");
    }
    for (size_t i = 0; paths != NULL && i < n; i++)
        bt_free(paths[i]);
    bt_free(paths);
    bt_free(items);
    return r;
}
