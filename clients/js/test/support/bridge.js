// A real bridge on a real PostgreSQL, which tests/support/javascript.py runs and this steers:
// one JSON object a line, there and back.

import {once} from "node:events";
import {createRequire} from "node:module";
import {connect as dial} from "node:net";
import {createInterface} from "node:readline";

const [, , , port = process.env.ROWCAST_TEST_CONTROL] = process.argv;
if (!port) throw new Error("these tests are run by ./dev test tests/acceptance/test_javascript.py");

export const WebSocket = globalThis.WebSocket ?? createRequire(import.meta.url)("ws");

export class Bridge {
  static async reach() {
    const socket = dial(+port, "127.0.0.1");
    await once(socket, "connect");
    const bridge = Object.assign(new Bridge(), {
      socket,
      answers: createInterface(socket)[Symbol.asyncIterator](),
    });
    bridge.url = await bridge.ask("address");
    return bridge;
  }

  async ask(action, text) {
    this.socket.write(`${JSON.stringify({action, text})}\n`);
    const {error, value} = JSON.parse((await this.answers.next()).value);
    if (error) throw new Error(error);
    return value;
  }

  /** Rows of a query, each an array; or nothing for a statement. */
  sql(text) {
    return this.ask("sql", text);
  }

  /** Ends the bridge as a crash does. */
  kill() {
    return this.ask("kill");
  }

  /** Starts it again, at the same address. */
  start() {
    return this.ask("start");
  }

  close() {
    this.socket.end();
  }
}

/** Resolves with the first value for which `holds` is true. */
export function until(view, holds) {
  return new Promise((resolve, reject) => {
    const end = view.subscribe((value) => {
      if (!holds(value)) return;
      resolve(value);
      setTimeout(() => end());
    }, reject);
  });
}
