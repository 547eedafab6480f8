// What MQTT.js does with a broker, in Node and in a browser alike. run(mqtt, url, options)
// resolves to the list of steps that were done; it rejects with the step that failed.
// options: version (3, 4, 5), prefix of topics and client ids, connect: more for mqtt.connect.
(function (root) {
  'use strict';

  var LIMIT_MS = 15000;

  function fail(text) {
    throw new Error(text);
  }

  function equal(got, want, what) {
    if (got !== want) fail(what + ' is ' + got + ', expected ' + want);
  }

  function within(promise, what) {
    return Promise.race([promise, new Promise(function (_, reject) {
      setTimeout(function () { reject(new Error('not in time: ' + what)); }, LIMIT_MS);
    })]);
  }

  // A client with promises: messages come out of a queue.
  function Client(mqtt, url, options, more) {
    var self = this;
    var all = Object.assign({
      protocolVersion: options.version, reconnectPeriod: 0, connectTimeout: LIMIT_MS, clean: true
    }, options.version === 3 ? { protocolId: 'MQIsdp' } : {}, options.connect, more);
    this.messages = [];
    this.waiting = [];
    this.c = mqtt.connect(url, all);
    this.c.on('message', function (topic, payload, packet) {
      var next = self.waiting.shift();
      if (next) next(packet); else self.messages.push(packet);
    });
    this.c.on('error', function (e) { self.error = e; });
  }

  Client.prototype.connected = function () {
    var self = this;
    return within(new Promise(function (resolve, reject) {
      self.c.once('connect', resolve);
      self.c.once('error', reject);
      self.c.once('close', function () { reject(new Error('closed before CONNACK')); });
    }), 'CONNACK');
  };

  Client.prototype.next = function () {
    var self = this;
    if (this.messages.length) return Promise.resolve(this.messages.shift());
    return within(new Promise(function (resolve) { self.waiting.push(resolve); }), 'a message');
  };

  Client.prototype.subscribe = function (topic, qos) {
    var self = this;
    return within(new Promise(function (resolve, reject) {
      self.c.subscribe(topic, { qos: qos }, function (e, granted) {
        if (e) reject(e); else resolve(granted);
      });
    }), 'SUBACK').then(function (granted) { equal(granted[0].qos, qos, 'granted QoS'); });
  };

  Client.prototype.unsubscribe = function (topic) {
    var self = this;
    return within(new Promise(function (resolve, reject) {
      self.c.unsubscribe(topic, function (e) { if (e) reject(e); else resolve(); });
    }), 'UNSUBACK');
  };

  Client.prototype.publish = function (topic, payload, options) {
    var self = this;
    return within(new Promise(function (resolve, reject) {
      self.c.publish(topic, payload, options, function (e) { if (e) reject(e); else resolve(); });
    }), 'the end of a publish');
  };

  Client.prototype.end = function (force) {
    var self = this;
    return within(new Promise(function (resolve) { self.c.end(!!force, {}, resolve); }), 'the end');
  };

  async function open(mqtt, url, options, name, more) {
    var client = new Client(mqtt, url, options, Object.assign({ clientId: options.prefix + name }, more));
    client.connack = await client.connected();
    return client;
  }

  function text(packet) {
    return packet.payload.toString();
  }

  // The numbers 0 to n - 1, the even ones at QoS 1 and the odd ones at QoS 2, each in order.
  async function inOrder(client, n) {
    var next = { 1: 0, 2: 1 };
    for (var i = 0; i < n; i++) {
      var got = await client.next();
      equal(Number(text(got)), next[got.qos], 'message at QoS ' + got.qos);
      next[got.qos] += 2;
    }
  }

  var steps = {
    qos: async function (a, o) {
      for (var qos = 0; qos <= 2; qos++) {
        var topic = o.prefix + '/qos' + qos;
        await a.subscribe(topic, qos);
        await a.publish(topic, 'grüße ' + qos, { qos: qos });
        var got = await a.next();
        equal(text(got), 'grüße ' + qos, 'payload');
        equal(got.qos, qos, 'QoS');
        equal(got.topic, topic, 'topic');
      }
    },

    order: async function (a, o) {
      var topic = o.prefix + '/order', all = [];
      await a.subscribe(topic, 2);
      for (var i = 0; i < 300; i++) all.push(a.publish(topic, String(i), { qos: 1 + i % 2 }));
      await Promise.all(all);
      await inOrder(a, 300);
    },

    large: async function (a, o) {
      var payload = o.bytes(400000);
      await a.subscribe(o.prefix + '/large', 1);
      await a.publish(o.prefix + '/large', payload, { qos: 1 });
      var got = (await a.next()).payload;
      equal(got.length, payload.length, 'length');
      for (var i = 0; i < payload.length; i++) if (got[i] !== payload[i]) fail('byte ' + i + ' differs');
    },

    retained: async function (a, o, connect) {
      await a.publish(o.prefix + '/kept', 'state', { qos: 1, retain: true });
      var b = await connect('b');
      await b.subscribe(o.prefix + '/kept', 1);
      var got = await b.next();
      equal(text(got) + got.retain, 'statetrue', 'retained message');
      await b.publish(o.prefix + '/kept', '', { qos: 1, retain: true });
      equal((await b.next()).payload.length, 0, 'length of the empty message');
      await b.unsubscribe(o.prefix + '/kept');
      await b.subscribe(o.prefix + '/kept', 1);
      await b.publish(o.prefix + '/kept', 'after', { qos: 0 });
      equal(text(await b.next()), 'after', 'first message after the retained one was removed');
      await b.end();
    },

    will: async function (a, o, connect) {
      await a.subscribe(o.prefix + '/will', 1);
      var b = await connect('b', { will: { topic: o.prefix + '/will', payload: 'gone', qos: 1, retain: false } });
      b.c.stream.destroy();
      equal(text(await a.next()), 'gone', 'will');
      b = await connect('b', { will: { topic: o.prefix + '/will', payload: 'wrong', qos: 1, retain: false } });
      await b.end();
      await a.publish(o.prefix + '/will', 'marker', { qos: 1 });
      equal(text(await a.next()), 'marker', 'message after a proper end');
    },

    session: async function (a, o, connect) {
      var more = { clean: false, properties: o.version === 5 ? { sessionExpiryInterval: 300 } : undefined };
      var b = await connect('s', more);
      equal(b.connack.sessionPresent, false, 'session present at first');
      await b.subscribe(o.prefix + '/session', 2);
      await b.end();
      for (var i = 0; i < 6; i++) await a.publish(o.prefix + '/session', String(i), { qos: 1 + i % 2 });
      b = new Client(o.mqtt, o.url, o, Object.assign({ clientId: o.prefix + 's' }, more));
      var connack = await b.connected();
      if (o.version > 3) equal(connack.sessionPresent, true, 'session present');
      await inOrder(b, 6);
      await b.end();
      await (await connect('s', { clean: true })).end();
    },

    properties: async function (a, o) {
      if (o.version !== 5) return;
      await a.subscribe(o.prefix + '/props', 1);
      await a.publish(o.prefix + '/props', 'x', { qos: 1, properties: {
        userProperties: { name: 'wert ü' }, responseTopic: 'answer/here', contentType: 'text/plain',
        payloadFormatIndicator: true, messageExpiryInterval: 60, correlationData: o.bytes(4)
      } });
      var p = (await a.next()).properties;
      equal(p.userProperties.name, 'wert ü', 'user property');
      equal(p.responseTopic, 'answer/here', 'response topic');
      equal(p.contentType, 'text/plain', 'content type');
      equal(p.correlationData.length, 4, 'length of the correlation data');
      if (!(p.messageExpiryInterval > 0 && p.messageExpiryInterval <= 60)) fail('message expiry');
    },

    unsubscribed: async function (a, o) {
      await a.subscribe(o.prefix + '/un', 1);
      await a.unsubscribe(o.prefix + '/un');
      await a.publish(o.prefix + '/un', 'no', { qos: 1 });
      await a.subscribe(o.prefix + '/marker', 1);
      await a.publish(o.prefix + '/marker', 'yes', { qos: 1 });
      equal(text(await a.next()), 'yes', 'message');
    }
  };

  async function run(mqtt, url, options) {
    var o = Object.assign({ mqtt: mqtt, url: url }, options), done = [];
    o.bytes = function (n) {
      var bytes = new Uint8Array(n);
      for (var i = 0; i < n; i++) bytes[i] = i * 7919 >> 3;
      return typeof Buffer === 'undefined' ? bytes : Buffer.from(bytes);
    };
    function connect(name, more) {
      return open(mqtt, url, o, name, more);
    }
    for (var name of Object.keys(steps)) {
      try {
        var a = await connect('a-' + name);
        await steps[name](a, o, connect);
        await a.end();
      } catch (e) {
        throw new Error(name + ', version ' + o.version + ': ' + (e && e.message || e));
      }
      done.push(name + o.version);
    }
    return done;
  }

  if (typeof module === 'object' && module.exports) module.exports = { run: run };
  else root.scenario = { run: run };
})(typeof self === 'undefined' ? this : self);
