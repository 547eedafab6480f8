// node node.js MODULES CA URL...: the scenario in every version over each URL. CA: a file, or -.
'use strict';
const fs = require('fs');
const path = require('path');
const scenario = require('./scenario.js');

const [modules, ca, ...urls] = process.argv.slice(2);
const mqtt = require(path.join(modules, 'mqtt'));

async function main() {
  const connect = ca === '-' ? {} : { ca: fs.readFileSync(ca) };
  let done = [];
  for (const url of urls)
    for (const version of [3, 4, 5])
      done = done.concat(await scenario.run(mqtt, url, { version, prefix: `node-${url.split(':')[0]}-${version}-`, connect }));
  console.log('done ' + done.join(' '));
}

main().then(() => process.exit(0), (e) => {
  console.error(e.message);
  process.exit(1);
});
