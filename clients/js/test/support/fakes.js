// A clock that a test moves, and a bridge that says what a test wants it to say.

export class Clock {
  now = 1_000_000_000_000;
  timers = new Map();
  #ids = 0;

  install(t) {
    const {setTimeout, clearTimeout} = globalThis;
    const {now} = Date;
    globalThis.setTimeout = (act, delay = 0, ...given) => {
      // A longer one is taken for none, by browsers as by Node.
      if (delay > 2 ** 31 - 1) delay = 1;
      this.timers.set(++this.#ids, {at: this.now + delay, act: () => act(...given)});
      return this.#ids;
    };
    globalThis.clearTimeout = (id) => this.timers.delete(id);
    Date.now = () => this.now;
    this.settle = () => new Promise((resolve) => setTimeout(resolve));
    t.after(() => Object.assign(globalThis, {setTimeout, clearTimeout}) && (Date.now = now));
    return this;
  }

  /** Lets `ms` pass, and with them everything that was to happen meanwhile. */
  async pass(ms = 0) {
    const end = this.now + ms;
    await this.settle();
    for (;;) {
      const due = [...this.timers].filter(([, {at}]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!due.length) break;
      const [id, {at, act}] = due[0];
      this.timers.delete(id);
      this.now = at;
      act();
      await this.settle();
    }
    this.now = end;
  }
}

/** A class of WebSockets; `lines` are those that were made, newest last. */
export function fakeWebSocket() {
  return class FakeWebSocket {
    static lines = [];
    static get line() {
      return this.lines.at(-1);
    }

    readyState = 0;
    sent = [];

    constructor(url) {
      this.url = url;
      FakeWebSocket.lines.push(this);
    }

    open() {
      this.readyState = 1;
      this.onopen();
      this.says({type: "welcome", protocol: 1, instance: "a", version: "0"});
    }

    says(...messages) {
      for (const message of messages) this.onmessage({data: JSON.stringify(message)});
    }

    ends(code, reason = "") {
      this.readyState = 3;
      this.onclose({code, reason});
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    // Node's tells at once of the end of one that was never opened.
    close() {
      const {readyState} = this;
      Object.assign(this, {readyState: 3, closed: true});
      if (readyState === 0) this.onerror();
    }
  };
}

export const row = (id, n) => ({key: {id}, row: {id, n}});
export const snapshot = (topic, version, rows, more) =>
  ({type: "snapshot", topic, version, rows, first: true, last: true, ...more});
export const change = (topic, version, id, n, more) =>
  ({type: "change", topic, version, key: {id}, row: n === null ? null : {id, n}, op: "update", ...more});
export const subscribed = (topic, resumed = false, more) =>
  ({type: "subscribed", topic, resumed, ...more});
