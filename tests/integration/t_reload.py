"""Reload by SIGHUP: a new configuration on the running hub, and a wrong one."""
import os
import signal

import raw
from harness import check, contains, equal, test, until
from raw import Raw, session

USERS = """
  principals:
    - username: ann
      password: one
      permissions:
        - {action: pub, permit: ['#']}
        - {action: sub, permit: [%s]}
    - username: bob
      password: %s
      permissions:
        - {action: sub, permit: ['#']}
"""


def config(sub="'#'", bob="two", extra=""):
    return "hub:\n  listen: ['tcp://127.0.0.1:0']\n  workers: 2\n" + USERS % (sub, bob) + extra


def reload(s, text, done="configuration taken over"):
    before = s.log().count("CORE-RELOAD")
    with open(s.config, "w") as f:
        f.write(text)
    s.process.send_signal(signal.SIGHUP)
    until(lambda: s.log().count("CORE-RELOAD") > before, what="the reload")
    contains(s.log().split("CORE-RELOAD")[-1], done)


def ann(t, s, client_id="a1", **options):
    r = Raw(t, s.port)
    r.login(client_id, user="ann", password="one", **options)
    return r


@test
def a_new_user_and_a_removed_one(t):
    s = t.baetyl(config())
    live = ann(t, s)
    bob = Raw(t, s.port)
    bob.login("b1", user="bob", password="two", level=5)
    without = config().replace("username: bob", "username: carl")
    reload(s, without)
    body = bob.expect(raw.DISCONNECT)
    equal(body[0], 0x98, "reason")
    check(bob.closed(), "closed")
    live.ping()
    Raw(t, s.port).login("b1", user="bob", password="two", code=4)
    Raw(t, s.port).login("c1", user="carl", password="two")
    contains(s.log(), "HUB-REVOKED")


@test
def a_changed_password_ends_the_login(t):
    s = t.baetyl(config())
    live, old = ann(t, s), Raw(t, s.port)
    old.login("b1", user="bob", password="two")
    reload(s, config(bob="three"))
    check(old.closed(), "closed")
    live.ping()
    Raw(t, s.port).login("b1", user="bob", password="two", code=4)
    Raw(t, s.port).login("b1", user="bob", password="three")


@test
def narrowed_permissions_take_subscriptions_away(t):
    s = t.baetyl(config())
    live = ann(t, s, clean=False)
    live.send(raw.subscribe(("x/#", 1), ("y", 1))).expect(raw.SUBACK)
    pub = ann(t, s, "p")
    reload(s, config(sub="'y'"))
    pub.send(raw.publish("x/1", "no"), raw.publish("y", "yes"))
    equal(live.message()["payload"], b"yes", "payload")
    live.quiet()
    equal(live.send(raw.subscribe(("x/1", 1))).expect(raw.SUBACK)[-1], 0x80, "SUBACK")
    contains(s.log(), "HUB-NARROW")
    live.close()
    # The row is gone as well.
    reload(s, config())
    s.stop()
    s.start()
    live = ann(t, s, clean=False)
    pub = ann(t, s, "p")
    pub.send(raw.publish("x/1", "no"), raw.publish("y", "yes"))
    equal(live.message()["payload"], b"yes", "payload")


@test
def what_waits_obeys_the_new_permissions(t):
    s = t.baetyl(config())
    live = ann(t, s, clean=False)
    live.send(raw.subscribe(("x", 1), ("y", 1))).expect(raw.SUBACK)
    live.close()
    pub = ann(t, s, "p")
    for i in range(20):
        pub.send(raw.publish("x", "no", qos=1, pid=2 * i + 1)).expect(raw.PUBACK)
        pub.send(raw.publish("y", str(i), qos=1, pid=2 * i + 2)).expect(raw.PUBACK)
    reload(s, config(sub="'y'"))
    live = Raw(t, s.port)
    equal(live.login("a1", user="ann", password="one", clean=False), 1, "session present")
    for i in range(20):
        equal(live.message()["payload"], str(i).encode(), "payload")
    live.quiet()
    # Nor does what was passed over come back.
    live.close()
    reload(s, config())
    live = ann(t, s, clean=False)
    live.quiet()


@test
def permissions_are_checked_when_the_store_is_read(t):
    s = t.baetyl(config())
    live = ann(t, s, clean=False)
    live.send(raw.subscribe(("x", 1), ("y", 1))).expect(raw.SUBACK)
    live.close()
    pub = ann(t, s, "p")
    pub.send(raw.publish("x", "no", qos=1)).expect(raw.PUBACK)
    pub.send(raw.publish("y", "yes", qos=1)).expect(raw.PUBACK)
    s.stop()
    with open(s.config, "w") as f:
        f.write(config(sub="'y'"))
    s.start()
    live = ann(t, s, clean=False)
    equal(live.message()["payload"], b"yes", "payload")
    live.quiet()
    ann(t, s, "p").send(raw.publish("x", "no", qos=1)).expect(raw.PUBACK)
    live.quiet()


@test
def wider_permissions_are_there_at_once(t):
    s = t.baetyl(config(sub="'y'"))
    live = ann(t, s)
    equal(live.send(raw.subscribe(("x", 0))).expect(raw.SUBACK)[-1], 0x80, "SUBACK")
    reload(s, config())
    equal(live.send(raw.subscribe(("x", 0))).expect(raw.SUBACK)[-1], 0, "SUBACK")


@test
def a_wrong_file_changes_nothing(t):
    s = t.baetyl(config())
    live = ann(t, s)
    bad = config(sub="'a/#/b'", bob="three")
    line = [i + 1 for i, text in enumerate(bad.split("\n")) if "a/#/b" in text][0]
    reload(s, bad, "the old one stays")
    contains(s.log(), "baetyl.yml:%d:" % line)
    contains(s.log(), "sub topic(a/#/b) invalid")
    live.ping()
    Raw(t, s.port).login("b1", user="bob", password="two")
    reload(s, "hub: [", "the old one stays")
    os.unlink(s.config)
    s.process.send_signal(signal.SIGHUP)
    until(lambda: s.log().count("the old one stays") == 3, what="the reload")
    live.ping()
    Raw(t, s.port).login("b2", user="bob", password="two")
    reload(s, config(bob="three"))
    Raw(t, s.port).login("b1", user="bob", password="three")
    equal(s.stop(), 0, "exit status")


@test
def keys_that_need_a_restart_are_named(t):
    s = t.baetyl(config())
    live = ann(t, s)
    reload(s, config(extra="  storage: {dir: elsewhere}\n").replace("workers: 2", "workers: 1")
           .replace("127.0.0.1:0'", "127.0.0.1:1'"))
    for key in ("hub.listen", "hub.storage.dir", "hub.workers"):
        contains(s.log(), "key=" + key)
    check("key=hub.principals" not in s.log(), "principals need no restart")
    live.ping()


@test
def limits_and_routes_are_taken_over(t):
    s = t.baetyl(config())
    live = ann(t, s)
    live.send(raw.subscribe(("to", 0))).expect(raw.SUBACK)
    live.send(raw.publish("from", "1")).ping()
    routes = "  subscriptions:\n    - {source: {topic: from}, target: {topic: to}}\n"
    reload(s, config(extra=routes + "  message: {length: {max: 100}}\n"))
    live.send(raw.publish("from", "2"))
    equal(live.message()["payload"], b"2", "payload")
    live.send(raw.publish("x", "." * 200))
    check(live.closed(), "closed")
    reload(s, config(extra=routes.replace("topic: to", "topic: from"), bob="three"), "stays")
    contains(s.log(), "found cycle")


@test
def anonymous_is_taken_away(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  anonymous: true\n")
    live = session(t, s, "any", ("x", 0))
    reload(s, config())
    check(live.closed(), "closed")
    Raw(t, s.port).login("any", code=4)


@test
def many_reloads_under_load(t):
    s = t.baetyl(config())
    live, pub = ann(t, s), ann(t, s, "p")
    live.send(raw.subscribe(("x", 0))).expect(raw.SUBACK)
    for i in range(30):
        with open(s.config, "w") as f:
            f.write(config(bob="pw%d" % i))
        s.process.send_signal(signal.SIGHUP)
        pub.send(*[raw.publish("x", str(k)) for k in range(50)])
        for k in range(50):
            equal(live.message()["payload"], str(k).encode(), "payload")
    equal(s.stop(), 0, "exit status")


@test
def a_will_that_is_not_permitted_any_more(t):
    s = t.baetyl(config())
    watch = Raw(t, s.port)
    watch.login("w", user="bob", password="two")
    watch.send(raw.subscribe(("#", 0))).expect(raw.SUBACK)
    live = ann(t, s, will=("gone", "ann", 0))
    stays = ann(t, s, "a2", will=("left", "ann", 0))
    reload(s, config().replace("permit: ['#']}\n        - {action: sub, permit: ['#']}\n    - username: bob",
                               "permit: [left]}\n        - {action: sub, permit: ['#']}\n    - username: bob"))
    live.close()
    stays.close()
    equal(watch.message()["topic"], "left", "topic")
    watch.quiet()
    # Nor does the user's removal itself send one.
    live = ann(t, s, "a3", will=("left", "removed", 0))
    reload(s, config().replace("username: ann", "username: eve"))
    check(live.closed(), "closed")
    watch.quiet()


@test
def queue_of_another_connection_waits_through_reloads(t):
    """What waits for a window goes on in order."""
    s = t.baetyl(config())
    live, pub = ann(t, s, clean=False), ann(t, s, "p")
    live.send(raw.subscribe(("x/#", 1))).expect(raw.SUBACK)
    for i in range(250):
        pub.send(raw.publish("x/1", str(i), qos=1, pid=i + 1)).expect(raw.PUBACK)
    first = [live.message(ack=False) for _ in range(100)]
    reload(s, config(bob="three"))
    live.send(*[raw.packet(0x40, m["pid"].to_bytes(2, "big")) for m in first])
    for i in range(100, 250):
        equal(live.message()["payload"], str(i).encode(), "payload")
