// TanStack Query's cache, fed by a real bridge. It is run where the package is installed.

import assert from "node:assert/strict";

import {QueryClient, QueryObserver} from "@tanstack/query-core";
import {connect} from "rowcast";
import {feed, liveQuery} from "rowcast/query";

const live = connect(process.argv[2], {WebSocket: null});
const client = new QueryClient();
const end = feed(client, live);

function observe(topic) {
  const observer = new QueryObserver(client, liveQuery(live, topic));
  const seen = (holds) =>
    new Promise((resolve) => {
      const stop = observer.subscribe(({status, data, error}) => {
        if (!holds(data, error)) return;
        setTimeout(() => stop());
        resolve({status, data, error});
      });
    });
  return {observer, seen};
}

const followed = new Promise((resolve) => live.subscribe((now) => now === "live" && resolve()));
const {observer, seen} = observe("items");
const kept = observer.subscribe(() => {});
await seen((rows) => rows?.length === 3);
await followed;

// What comes now comes without being asked for.
live.row("items/1").subscribe((row) => row.n === 1 && console.log("changed"));
console.log("ready");
const {data} = await seen((rows) => rows?.[0].n === 1);
assert.equal(data, client.getQueryData(liveQuery(live, "items").queryKey));

const {error} = await observe("nothing").seen((_, error) => error);
assert.equal(error.code, "unknown_topic");

kept();
end();
await new Promise((resolve) => live.rows("items").subscribe(resolve));
live.close();
console.log("done");
