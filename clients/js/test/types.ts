// What the types allow, and, where an error is expected, what they do not.

import {connect, RowcastError} from "rowcast";
import type {Live, Status} from "rowcast";
import {feed, liveQuery} from "rowcast/query";
import {LiveProvider, useLive, useRow, useRows, useTopicError} from "rowcast/react";

interface Order {
  id: number;
  status: "placed" | "paid";
}
interface Item {
  order_id: number;
  line: number;
}
interface Schema {
  topics: {
    orders: Order;
    "orders/{id}": Order;
    "customers/{customer_id}/orders": Order;
    "order_items/{order_id}/{line}": Item;
  };
  logs: {payments: {amount: string}};
}
declare module "rowcast" {
  interface Register {
    schema: Schema;
  }
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <A, B>(same: Equal<A, B>) => same;

const live = connect("https://example.com", {token: async () => "token"});
is<typeof live, Live<Schema>>(true);

const id: number = 42;
const text: string = "42";
live.rows("orders").subscribe((rows) => is<typeof rows, readonly Order[]>(true));
live.row("orders/42").subscribe((row) => is<typeof row, Order | null>(true));
live.row(`orders/${id}`).subscribe((row) => is<typeof row, Order | null>(true));
live.row(`orders/${text}`).subscribe((row) => is<typeof row, Order | null>(true));
live.row("orders/{id}", {id}).subscribe((row) => is<typeof row, Order | null>(true));
live.rows(`customers/${text}/orders`).subscribe((rows) => is<typeof rows, readonly Order[]>(true));
live.rows("customers/{customer_id}/orders", {customer_id: 7n});
live.row("order_items/{order_id}/{line}", {order_id: 1, line: "2"}).subscribe(
  (row) => is<typeof row, Item | null>(true),
  (error) => is<typeof error, RowcastError>(true),
);

// @ts-expect-error: no such topic
live.rows("order");
// @ts-expect-error: no such topic
live.rows("orders/42/lines");
// @ts-expect-error: an empty value
live.row("orders/");
// @ts-expect-error: a text that could be any topic
live.rows(text);
// @ts-expect-error: values are missing
live.row("orders/{id}");
// @ts-expect-error: no such column
live.row("orders/{id}", {order: 1});
// @ts-expect-error: one value is missing
live.row("order_items/{order_id}/{line}", {order_id: 1});
// @ts-expect-error: a value that has no spelling
live.row("orders/{id}", {id: {}});
// @ts-expect-error: a topic that is written out has no values
live.row("orders/42", {id: 1});
// @ts-expect-error: rows are not there yet
live.rows("orders").value.length;
// @ts-expect-error: what was handed out is not changed
live.rows("orders").subscribe((rows) => rows.push({id: 1, status: "paid"}));
// @ts-expect-error: no such column
live.row("orders/42").subscribe((row) => row?.total);
// @ts-expect-error: a state is no log
live.events("orders");
// @ts-expect-error: a log is no state
live.rows("payments");

const stop: () => void = live.subscribe((status) => is<typeof status, Status>(true));
async function read(signal: AbortSignal) {
  for await (const {row, cursor, position} of live.events("payments", {since: "start", signal})) {
    is<typeof row, {amount: string}>(true);
    is<typeof position, number | string>(true);
    const again: string = cursor;
  }
  live.events("payments", {since: {position: 9}});
}

// Of any database.
const any = connect<{topics: Record<string, any>; logs: Record<string, any>}>("/");
any.rows(text).subscribe((rows) => rows[0].whatever);
any.row("things/{id}", {id}).subscribe((row) => row.whatever);
any.events("anything");

function Orders({customer}: {customer: number | undefined}) {
  const rows = useRows("customers/{customer_id}/orders", {customer_id: customer ?? 0});
  is<typeof rows, readonly Order[] | undefined>(true);
  const row = useRow(customer ? `orders/${customer}` : null);
  is<typeof row, Order | null | undefined>(true);
  const {status, error} = useLive();
  is<typeof status, Status>(true);
  is<typeof error, RowcastError | undefined>(true);
  useTopicError("orders");
  // @ts-expect-error: no such topic
  useRows("order");
  // @ts-expect-error: values are missing
  useRow("orders/{id}");
}
LiveProvider({live, children: null});

const options = liveQuery(live, "orders/{id}", {id: 1});
is<Awaited<ReturnType<typeof options.queryFn>>, readonly Order[]>(true);
// @ts-expect-error: no such topic
liveQuery(live, "order");
const ended: () => void = feed({getQueryCache: () => {}, setQueryData: () => {}}, live);
