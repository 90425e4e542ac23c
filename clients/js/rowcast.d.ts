/** Tables, topics and rows of any database; `rowcast types` writes those of yours. */
export interface AnySchema {
  topics: Record<string, Record<string, any>>;
  logs: Record<string, Record<string, any>>;
}

/**
 * Declare your schema here once, and `connect` and the hooks know it:
 *
 *     declare module "rowcast" {
 *       interface Register { schema: import("./schema").Schema }
 *     }
 */
export interface Register {}

export type Registered = Register extends {schema: infer S} ? S : AnySchema;

type Filled<Given, Wanted> = string extends Wanted
  ? true
  : Wanted extends `{${string}}`
    ? Given extends ""
      ? false
      : true
    : Given extends Wanted
      ? true
      : false;

type Fits<Given extends string, Wanted extends string> = Wanted extends `${infer A}/${infer B}`
  ? Given extends `${infer C}/${infer D}`
    ? Filled<C, A> extends true
      ? Fits<D, B>
      : false
    : false
  : string extends Wanted
    ? true
    : Given extends `${string}/${string}`
      ? false
      : Filled<Given, Wanted>;

type Found<Topics, T extends string> = {
  [K in keyof Topics & string]: Fits<T, K> extends true ? Topics[K] : never;
}[keyof Topics & string];

type Of<S, Field extends string> = S extends {[K in Field]: infer Topics} ? Topics : never;

type Known<Topics, T extends string> =
  | (T & ([Found<Topics, T>] extends [never] ? never : unknown))
  | (keyof Topics & string);

/** A topic of the schema: `orders/42`, or its template, `orders/{id}`, with the values beside it. */
export type Topic<S, T extends string> = Known<Of<S, "topics">, T>;

/** A log topic of the schema. */
export type LogTopic<S, T extends string> = Known<Of<S, "logs">, T>;

/** What a row of the topic is. */
export type Row<S, T extends string> = Found<Of<S, "topics">, T>;

/** What a row of the log topic is. */
export type LogRow<S, T extends string> = Found<Of<S, "logs">, T>;

type Columns<T extends string> = T extends `${string}{${infer C}}${infer Rest}`
  ? C | Columns<Rest>
  : never;

/** The values for a template's columns; nothing for a topic that is written out. */
export type Keys<T extends string> = [Columns<T>] extends [never]
  ? []
  : [keys: {[C in Columns<T>]: string | number | bigint | boolean}];

/**
 * - `idle`: nothing is followed, and there is no connection.
 * - `connecting`: not everything that is followed is there yet.
 * - `live`: what you hold is what the tables hold.
 * - `stale`: the bridge is lost, or has lost its database. What you hold may be old.
 * - `closed`: by `close()`, or by the bridge for good; then `error` says why.
 */
export type Status = "idle" | "connecting" | "live" | "stale" | "closed";

/** Why a topic is not followed or a connection has ended; codes as in the protocol. */
export class RowcastError extends Error {
  /** `unknown_topic`, `forbidden`…; or the number that the connection was closed with. */
  readonly code: string | number;
  readonly topic?: string;
  /** Of events that cannot be read: go on behind them with `since: error.cursor`. */
  readonly cursor?: string;
}

/** Something followed for as long as it has a subscriber. Also a store as Svelte knows them. */
export interface View<Value> {
  /** The topic, with its values in place. */
  readonly topic: string;
  /** What subscribers were told last; `undefined` while there are none or nothing is there. */
  readonly value: Value | undefined;
  readonly error: RowcastError | undefined;
  /**
   * `next` is called at once if something is there, and after every change; changes that come
   * together make one call. `fail` is called when the bridge refuses; without it errors go to
   * the console. Returns what ends it.
   */
  subscribe(next: (value: Value) => void, fail?: (error: RowcastError) => void): () => void;
}

/** A row of a log. */
export interface LogEvent<Row> {
  readonly type: "event";
  readonly topic: string;
  readonly table: string;
  readonly key: Record<string, unknown>;
  readonly row: Row;
  /** The log's position; a string past 2^53. */
  readonly position: number | string;
  /**
   * Go on after this event with `since: event.cursor`, on any instance. Only an event whose
   * position and key are kilobytes long may have none.
   */
  readonly cursor: string;
}

/** A connection to one bridge, shared by all subscribers; open while there are any. */
export interface Live<S = Registered> {
  /** The row of a topic that has one; `null` if it does not exist. */
  row<T extends string>(topic: Topic<S, T>, ...keys: Keys<T>): View<Row<S, T> | null>;
  /** All rows of a topic, in the order of their keys. An array is never changed, but replaced. */
  rows<T extends string>(topic: Topic<S, T>, ...keys: Keys<T>): View<readonly Row<S, T>[]>;
  /**
   * Every row of a log topic, once and in order, from now on or from `since`. Who reads slowly
   * misses nothing and buffers little. Ends by `break` or `signal`. Throws a `RowcastError`: with
   * the code `not_resumed` if what came after `since`, or while the line was lost, is not kept;
   * with `unavailable` if events cannot be read.
   */
  events<T extends string>(
    topic: LogTopic<S, T>,
    from?: {since?: string | {position: number | string}; signal?: AbortSignal},
  ): AsyncGenerator<LogEvent<LogRow<S, T>>, void, undefined>;
  readonly status: Status;
  /** Why the bridge has closed this for good. */
  readonly error: RowcastError | undefined;
  /** `watch` is called at once and whenever the status changes. Returns what ends it. */
  subscribe(watch: (status: Status) => void): () => void;
  /** End it for good. */
  close(): void;
}

export interface Options {
  /**
   * Goes along as the first message. A function is asked again for every connection, and half a
   * minute before the token expires.
   */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Instead of the global one; `null` for Server-Sent Events from the start. */
  WebSocket?: any;
  /** Text to message. The default is `JSON.parse`, but integers past 2^53 come as strings. */
  parse?: (text: string) => any;
}

/**
 * `url` is the bridge's address, `https://…` or `wss://…`, or relative to the page. Connects
 * when something is followed.
 */
export function connect<S = Registered>(url: string | URL, options?: Options): Live<S>;
