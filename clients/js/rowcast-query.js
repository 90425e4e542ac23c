// Feeds TanStack Query's cache. What the exports are for stands in rowcast-query.d.ts.

const MARK = "rowcast";

export function liveQuery(live, template, keys) {
  const view = live.rows(template, keys);
  return {queryKey: [MARK, view.topic], queryFn: () => first(view), staleTime: Infinity};
}

async function first(view) {
  let end;
  const rows = new Promise((resolve, reject) => (end = view.subscribe(resolve, reject)));
  return rows.finally(() => end());
}

export function feed(client, live) {
  const cache = client.getQueryCache();
  const followed = new Map(); // query's hash → what ends it

  function look({query}) {
    const [mark, topic] = query.queryKey;
    if (mark !== MARK) return;
    const observed = query.getObserversCount() > 0;
    if (observed === followed.has(query.queryHash)) return;
    if (observed) follow(query, topic);
    else drop(query.queryHash);
  }

  function follow({queryHash, queryKey}, topic) {
    followed.set(queryHash, () => {});
    const put = (rows) => client.setQueryData(queryKey, rows);
    followed.set(queryHash, live.rows(topic).subscribe(put, () => {}));
  }

  function drop(hash) {
    followed.get(hash)();
    followed.delete(hash);
  }

  const end = cache.subscribe(look);
  cache.getAll().forEach((query) => look({query}));
  return () => {
    end();
    [...followed.keys()].forEach(drop);
  };
}
