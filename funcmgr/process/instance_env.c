/* An instance sees PATH, HOME, the language and the time zone of the process, its own
 * name, and what the configuration gives the function. Passwords and tokens in our
 * environment stay ours. */
#include "funcmgr/process/instance_env.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/mem.h"

struct variable {
    const char *name;
    const char *fallback; /* NULL: left out when we have none */
};

static const struct variable inherited[] = {
    { "PATH", "/usr/local/bin:/usr/bin:/bin" },
    { "HOME", "/" },
    { "LANG", "C.UTF-8" },
    { "TZ", NULL },
    { "TMPDIR", NULL },
};
#define N_OWN 2

/* Takes text; replaces a variable of the same name. */
static void put(struct fm_child_env *env, char *text)
{
    size_t name = strcspn(text, "=") + 1;

    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->envp[i], text, name) == 0) {
            bt_free(env->envp[i]);
            env->envp[i] = text;
            return;
        }
    }
    env->envp[env->n++] = text;
}

static int put_pair(struct fm_child_env *env, const char *name, const char *value)
{
    struct bt_buf text = { 0 };
    char *s = NULL;

    if (bt_buf_printf(&text, "%s=%s", name, value) == 0)
        s = bt_buf_steal_str(&text);
    bt_buf_deinit(&text);
    if (s == NULL)
        return BT_ENOMEM;
    put(env, s);
    return 0;
}

int fm_child_env_init(struct fm_child_env *env, const char *instance,
                      const char *function, const struct bt_slice *extra, size_t n_extra)
{
    int r = 0;

    env->envp =
        bt_calloc(BT_ARRAY_LEN(inherited) + N_OWN + n_extra + 1, sizeof(*env->envp));
    if (env->envp == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(inherited); i++) {
        const char *value = getenv(inherited[i].name);

        value = value != NULL ? value : inherited[i].fallback;
        if (value != NULL)
            r = put_pair(env, inherited[i].name, value);
    }
    if (r == 0)
        r = put_pair(env, "BAETYL_SERVICE_INSTANCE_NAME", instance);
    if (r == 0)
        r = put_pair(env, "BAETYL_FUNCTION_NAME", function);
    for (size_t i = 0; r == 0 && i < n_extra; i++) {
        char *s = bt_strndup(extra[i].ptr, extra[i].len);

        if (s == NULL)
            return BT_ENOMEM;
        put(env, s);
    }
    return r;
}

void fm_child_env_deinit(struct fm_child_env *env)
{
    for (size_t i = 0; i < env->n; i++)
        bt_free(env->envp[i]);
    bt_free(env->envp);
    *env = (struct fm_child_env){ 0 };
}
