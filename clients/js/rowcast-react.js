// Rowcast in React 18 and newer. What the exports are for stands in rowcast-react.d.ts.

import {createContext, createElement, useCallback, useContext, useSyncExternalStore} from "react";

const Context = createContext(null);
const nothing = () => {};

export const LiveProvider = ({live, children}) =>
  createElement(Context.Provider, {value: live}, children);

function useConnection() {
  const live = useContext(Context);
  if (!live) throw new Error("no <LiveProvider live={connect(…)}> above this component");
  return live;
}

// A topic that is not known yet, null say, is not followed.
function useView(kind, topic, keys, field = "value") {
  const live = useConnection();
  const view = topic ? live[kind](topic, keys) : undefined;
  const filled = view?.topic;
  const subscribe = useCallback(
    (changed) => (filled ? live[kind](filled).subscribe(changed, changed) : nothing),
    [live, kind, filled],
  );
  return useSyncExternalStore(subscribe, () => view?.[field], nothing);
}

export const useRow = (topic, keys) => useView("row", topic, keys);
export const useRows = (topic, keys) => useView("rows", topic, keys);
export const useTopicError = (topic, keys) => useView("rows", topic, keys, "error");

export function useLive() {
  const live = useConnection();
  const subscribe = useCallback((changed) => live.subscribe(changed), [live]);
  const status = useSyncExternalStore(subscribe, () => live.status, () => "idle");
  return {live, status, error: live.error};
}
