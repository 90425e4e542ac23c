import type {Keys, Live, Row, Topic} from "rowcast";

/** What is needed of TanStack Query's `QueryClient`, version 5. */
export interface Client {
  getQueryCache(): any;
  setQueryData(key: readonly unknown[], rows: any): unknown;
}

/** Options for `useQuery` and the like: the rows of a topic. `feed` keeps them what they are. */
export function liveQuery<S, T extends string>(
  live: Live<S>,
  topic: Topic<S, T>,
  ...keys: Keys<T>
): {
  queryKey: [string, string];
  queryFn: () => Promise<readonly Row<S, T>[]>;
  staleTime: number;
};

/**
 * Follows the topic of each `liveQuery` for as long as somebody observes the query, and writes
 * its rows into the cache. Call it once beside `new QueryClient()`; returns what ends it.
 */
export function feed(client: Client, live: Live<any>): () => void;
