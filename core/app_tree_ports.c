/* In a container the hub listened on a port of its own, and `ports` said which port of
 * the machine that was. Here there is no container: an address becomes the published one,
 * one that is not published is for this machine only.
 *
 * "tcp://0.0.0.0:1883" with ports ["1884:1883"] listens on tcp://0.0.0.0:1884. Failure: a
 * port that has no form that is known is reported where it is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/app_tree.h"
#include "core/error.h"

#define MAX_ADDRESS 512

/* [ip:][host:]container[/protocol]; a port may be a range. */
struct published {
    struct bt_slice ip; /* empty: as the address says */
    unsigned host, container, n;
};

static bool read_range(const char *s, size_t len, unsigned *first, unsigned *n)
{
    char text[16], *end;
    unsigned long a, b;

    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    a = b = strtoul(text, &end, 10);
    if (end != text && *end == '-' && end[1] != '\0')
        b = strtoul(end + 1, &end, 10);
    if (*end != '\0' || text[0] < '0' || text[0] > '9' || a > b || b > 65535)
        return false;
    *first = (unsigned)a;
    *n = (unsigned)(b - a) + 1;
    return true;
}

/* The last colon before `end`, or s. */
static const char *last_part(const char *s, const char *end)
{
    while (end > s && end[-1] != ':')
        end--;
    return end;
}

static bool read_published(const char *s, struct published *p)
{
    const char *end = s + strcspn(s, "/"), *at = last_part(s, end), *host;
    unsigned n;

    *p = (struct published){ .n = 0 };
    if (!read_range(at, (size_t)(end - at), &p->container, &p->n))
        return false;
    p->host = p->container;
    if (at == s)
        return true;
    host = last_part(s, at - 1);
    if (at - 1 > host &&
        (!read_range(host, (size_t)(at - 1 - host), &p->host, &n) || n != p->n))
        return false;
    if (host > s)
        p->ip = (struct bt_slice){ (const uint8_t *)s, (size_t)(host - 1 - s) };
    return true;
}

/* scheme://host:port/path in its parts. */
struct address {
    struct bt_slice scheme, host; /* scheme with "://" */
    unsigned port;
    const char *path;
};

static bool read_address(const char *s, struct address *a)
{
    const char *host = strstr(s, "://"), *end, *colon;
    unsigned n;

    if (host == NULL || strncmp(s, "unix:", 5) == 0)
        return false;
    host += 3;
    end = host + strcspn(host, "/");
    colon = last_part(host, end);
    a->scheme = (struct bt_slice){ (const uint8_t *)s, (size_t)(host - s) };
    a->path = end;
    if (colon == host || !read_range(colon, (size_t)(end - colon), &a->port, &n))
        return false;
    a->host = (struct bt_slice){ (const uint8_t *)host, (size_t)(colon - 1 - host) };
    return true;
}

static int append_address(struct bt_yaml *doc, struct bt_yaml_node *list,
                          const struct address *a, struct bt_yaml_pos pos)
{
    char text[MAX_ADDRESS];
    struct bt_yaml_node *item;

    snprintf(text, sizeof(text), "%.*s%.*s:%u%s", (int)a->scheme.len,
             (const char *)a->scheme.ptr, (int)a->host.len, (const char *)a->host.ptr,
             a->port, a->path);
    item = bt_yaml_new_text(doc, text, pos);
    if (item == NULL)
        return BT_ENOMEM;
    bt_yaml_append(list, item);
    return 0;
}

static int publish_loopback(struct bt_app_tree *tree, const struct bt_app_part *hub,
                            struct bt_yaml_node *list, struct address *a,
                            struct bt_yaml_pos pos)
{
    static const char loopback[] = "127.0.0.1";

    bt_conf_report(tree->ctx, false, pos,
                   "the service \"%s\" does not publish port %u; it is reached from this "
                   "machine only",
                   hub->view.service->name, a->port);
    a->host = (struct bt_slice){ (const uint8_t *)loopback, sizeof(loopback) - 1 };
    return append_address(hub->doc, list, a, pos);
}

static int publish(struct bt_app_tree *tree, const struct bt_app_part *hub,
                   struct bt_yaml_node *list, struct bt_yaml_node *node)
{
    const struct bt_conf_strings *ports = &hub->view.service->ports;
    struct address a, to;
    size_t n = list->n;
    int r = 0;

    if (node->kind != BT_YAML_SCALAR || strlen(node->text) > MAX_ADDRESS / 2 ||
        !read_address(node->text, &a) || a.port == 0) {
        bt_yaml_append(list, node);
        return 0;
    }
    for (size_t i = 0; r == 0 && i < ports->n; i++) {
        struct published p;

        if (!read_published(ports->items[i], &p) || p.ip.len > 64 ||
            a.port < p.container || a.port >= p.container + p.n)
            continue;
        to = a;
        to.port = p.host + (a.port - p.container);
        if (p.ip.len > 0)
            to.host = p.ip;
        r = append_address(hub->doc, list, &to, node->pos);
    }
    if (r != 0 || list->n > n)
        return r;
    return publish_loopback(tree, hub, list, &a, node->pos);
}

static void check_ports(struct bt_app_tree *tree, const struct bt_app_service *s)
{
    struct published p;
    char key[32];

    for (size_t i = 0; i < s->ports.n; i++) {
        snprintf(key, sizeof(key), "ports[%zu]", i);
        if (!read_published(s->ports.items[i], &p))
            bt_conf_error_at(tree->ctx, s, key,
                             "\"%.60s\": expected [ADDRESS:][PORT:]PORT[/PROTOCOL]",
                             s->ports.items[i]);
    }
}

int bt_app_tree_ports(struct bt_app_tree *tree, const struct bt_app_part *hub,
                      struct bt_yaml_node *section)
{
    const struct bt_app_service *s = hub->view.service;
    struct bt_yaml_node *node = bt_yaml_get(section, "listen"), *list, *next;
    int r = 0;

    if (!tree->docker || node == NULL || bt_yaml_is_null(node) ||
        node->kind == BT_YAML_MAP ||
        (s->network_mode != NULL && strcmp(s->network_mode, "host") == 0))
        return 0;
    check_ports(tree, s);
    bt_yaml_take(section, "listen");
    list = bt_yaml_new_list(hub->doc, node->pos);
    if (list == NULL)
        return BT_ENOMEM;
    if (node->kind == BT_YAML_SCALAR)
        r = publish(tree, hub, list, node);
    for (struct bt_yaml_node *c = node->kind == BT_YAML_LIST ? node->first : NULL;
         r == 0 && c != NULL; c = next) {
        next = c->next;
        r = publish(tree, hub, list, c);
    }
    return r != 0 ? r : bt_yaml_put(hub->doc, section, "listen", list);
}
