import type {ReactNode} from "react";
import type {Keys, Live, Registered, Row, RowcastError, Status, Topic} from "rowcast";

type Optional<T> = T | null | undefined | false;

/** Gives the connection to the hooks below it. Make `live` once, outside of components. */
export function LiveProvider(props: {live: Live<any>; children?: ReactNode}): any;

/**
 * The row of a topic that has one: `undefined` until it is there, `null` if it does not exist.
 * A topic of `null` is not followed.
 */
export function useRow<T extends string>(
  topic: Optional<Topic<Registered, T>>,
  ...keys: Keys<T>
): Row<Registered, T> | null | undefined;

/** All rows of a topic in the order of their keys; `undefined` until they are there. */
export function useRows<T extends string>(
  topic: Optional<Topic<Registered, T>>,
  ...keys: Keys<T>
): readonly Row<Registered, T>[] | undefined;

/** Why a topic is not followed, if it is not; follows it. */
export function useTopicError<T extends string>(
  topic: Optional<Topic<Registered, T>>,
  ...keys: Keys<T>
): RowcastError | undefined;

/** The connection and how it is. */
export function useLive(): {
  live: Live<Registered>;
  status: Status;
  error: RowcastError | undefined;
};
