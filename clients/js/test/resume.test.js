// Cursors, against a real bridge that keeps changes.

import assert from "node:assert/strict";
import {after, before, test} from "node:test";

import {connect} from "../rowcast.js";
import {Bridge, WebSocket, until} from "./support/bridge.js";

let bridge;
before(async () => (bridge = await Bridge.reach()));
after(() => bridge.close());

const shown = (rows) => JSON.stringify(rows.map(({id, n}) => [id, n]));
const table = async () => JSON.stringify(await bridge.sql("SELECT id, n FROM items ORDER BY id"));

for (const [title, Socket] of [["a WebSocket", WebSocket], ["Server-Sent Events", null]]) {
  test(`what was missed comes without a new snapshot, over ${title}`, async () => {
    await bridge.sql("TRUNCATE items");
    await bridge.sql("INSERT INTO items SELECT g, 'a', 0 FROM generate_series(1, 100) AS g");
    const heard = [];
    const parse = (text) => (heard.push(JSON.parse(text)), JSON.parse(text));
    const live = connect(bridge.url, {WebSocket: Socket, parse});
    const end = live.rows("items").subscribe(() => {});
    const right = async () => {
      const expected = await table();
      await until(live.rows("items"), (rows) => shown(rows) === expected);
    };
    await right();
    await bridge.sql("UPDATE items SET n = 1 WHERE id = 1");
    await right();
    await bridge.kill();
    await until(live, (status) => status === "stale");
    heard.length = 0;
    await bridge.sql("UPDATE items SET n = 2 WHERE id = 2");
    await bridge.sql("DELETE FROM items WHERE id = 3");
    await bridge.start();
    await right();
    const types = heard.filter(({topic}) => topic).map(({type, resumed}) => resumed ?? type);
    assert.deepEqual(types, [true, "change", "change"]);
    end();
    live.close();
  });
}
