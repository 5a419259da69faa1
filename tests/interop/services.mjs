// The services of the public SDK test contract on the official TypeScript SDK, in our words; see services/ for the same
// in Python.  Names, handlers and JSON shapes are the contract's.  Listens at PORT, with INTEROP_HTTP_1 over HTTP/1.1.

import * as http from "node:http";
import * as restate from "@restatedev/restate-sdk";

// The SDK asks for what Node.js has from version 22 on; version 20 only lacks this.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const { RestatePromise, TerminalError, handlers } = restate;
const CANCELLED = 409;
const FOR_EVER_MS = 1024 * 24 * 3600 * 1000;
// With INTEROP_LAZY_STATE attempts are sent no state along and have to ask for each key.
const STATE = process.env.INTEROP_LAZY_STATE ? { enableLazyState: true } : {};

const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));
const parsed = (data) => JSON.parse(new TextDecoder().decode(data));

// How often something ran in this process, outside the journal, on purpose.
const counts = new Map();
function oneMore(name) {
  counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts.get(name);
}

// --- objects with state ---

async function add(ctx, value) {
  const oldValue = (await ctx.get("counter")) ?? 0;
  ctx.set("counter", oldValue + value);
  return { oldValue, newValue: oldValue + value };
}

const counter = restate.object({
  name: "Counter",
  options: STATE,
  handlers: {
    add,
    addThenFail: async (ctx, value) => {
      await add(ctx, value);
      throw new TerminalError(ctx.key);
    },
    get: handlers.object.shared(async (ctx) => (await ctx.get("counter")) ?? 0),
    reset: async (ctx) => ctx.clear("counter"),
  },
});

const listObject = restate.object({
  name: "ListObject",
  options: STATE,
  handlers: {
    append: async (ctx, value) => ctx.set("list", [...((await ctx.get("list")) ?? []), value]),
    get: async (ctx) => (await ctx.get("list")) ?? [],
    clear: async (ctx) => {
      const found = (await ctx.get("list")) ?? [];
      ctx.clear("list");
      return found;
    },
  },
});

const mapObject = restate.object({
  name: "MapObject",
  options: STATE,
  handlers: {
    set: async (ctx, { key, value }) => ctx.set(key, value),
    get: async (ctx, key) => (await ctx.get(key)) ?? "",
    clearAll: async (ctx) => {
      const entries = [];
      for (const key of await ctx.stateKeys()) entries.push({ key, value: await ctx.get(key) });
      ctx.clearAll();
      return entries;
    },
  },
});

// --- services without state ---

const target = (request) => ({
  service: request.serviceName,
  method: request.handlerName,
  parameter: new Uint8Array(request.message),
  key: request.virtualObjectKey ?? undefined,
  idempotencyKey: request.idempotencyKey ?? undefined,
});
const callTarget = (ctx, request) => ctx.genericCall(target(request));
const sendTarget = (ctx, request) => ctx.genericSend({ ...target(request), delay: request.delayMillis ?? undefined });

const proxy = restate.service({
  name: "Proxy",
  handlers: {
    call: async (ctx, request) => Array.from(await callTarget(ctx, request)),
    oneWayCall: async (ctx, request) => await sendTarget(ctx, request).invocationId,
    manyCalls: async (ctx, requests) => {
      const later = [];
      for (const { proxyRequest, oneWayCall, awaitAtTheEnd } of requests) {
        if (oneWayCall) sendTarget(ctx, proxyRequest);
        else if (awaitAtTheEnd) later.push(callTarget(ctx, proxyRequest));
        else await callTarget(ctx, proxyRequest);
      }
      await RestatePromise.all(later);
    },
  },
});

const testUtils = restate.service({
  name: "TestUtilsService",
  handlers: {
    echo: async (ctx, text) => text,
    uppercaseEcho: async (ctx, text) => text.toUpperCase(),
    echoHeaders: async (ctx) => Object.fromEntries(ctx.request().headers),
    rawEcho: handlers.handler(
      { accept: "*/*", input: restate.serde.binary, output: restate.serde.binary },
      async (ctx, body) => body,
    ),
    sleepConcurrently: async (ctx, durations) => {
      await RestatePromise.all(durations.map((duration) => ctx.sleep(duration)));
    },
    countExecutedSideEffects: async (ctx, increments) => {
      let executed = 0;
      for (let n = 0; n < increments; n++) await ctx.run("count", () => void executed++);
      return executed;
    },
    cancelInvocation: async (ctx, id) => ctx.cancel(id),
    resolveSignal: async (ctx, { invocationId, signalName, value }) =>
      ctx.invocation(invocationId).signal(signalName).resolve(value),
    rejectSignal: async (ctx, { invocationId, signalName, reason }) =>
      ctx.invocation(invocationId).signal(signalName).reject(reason),
  },
});

// --- waiting, cancelling, killing ---

const awakeableHolder = restate.object({
  name: "AwakeableHolder",
  options: STATE,
  handlers: {
    hold: async (ctx, id) => ctx.set("id", id),
    hasAwakeable: async (ctx) => (await ctx.get("id")) !== null,
    unlock: async (ctx, payload) => {
      const id = await ctx.get("id");
      if (id === null) throw new TerminalError("no awakeable is held");
      ctx.resolveAwakeable(id, payload);
    },
  },
});

const blockAndWait = restate.workflow({
  name: "BlockAndWaitWorkflow",
  options: STATE,
  handlers: {
    run: async (ctx, text) => {
      ctx.set("my-state", text);
      const output = await ctx.promise("durable-promise");
      if ((await ctx.promise("durable-promise").peek()) === undefined) {
        throw new TerminalError("the promise was awaited but peeks as pending");
      }
      return output;
    },
    unblock: async (ctx, output) => await ctx.promise("durable-promise").resolve(output),
    getState: async (ctx) => await ctx.get("my-state"),
  },
});

const cancelBlocking = restate.object({
  name: "CancelTestBlockingService",
  handlers: {
    block: async (ctx, operation) => {
      const { id, promise } = ctx.awakeable();
      await ctx.objectClient(awakeableHolder, ctx.key).hold(id);
      await promise;
      if (operation === "CALL") await ctx.objectClient(cancelBlocking, ctx.key).block(operation);
      else if (operation === "SLEEP") await ctx.sleep(FOR_EVER_MS);
      else if (operation === "AWAKEABLE") await ctx.awakeable().promise;
    },
    isUnlocked: async () => {},
  },
});

const cancelRunner = restate.object({
  name: "CancelTestRunner",
  options: STATE,
  handlers: {
    startTest: async (ctx, operation) => {
      try {
        await ctx.objectClient(cancelBlocking, ctx.key).block(operation);
      } catch (error) {
        if (!(error instanceof TerminalError) || error.code !== CANCELLED) throw error;
        ctx.set("state", true);
      }
    },
    verifyTest: async (ctx) => (await ctx.get("state")) ?? false,
  },
});

const killSingleton = restate.object({
  name: "KillTestSingleton",
  handlers: {
    recursiveCall: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.objectSendClient(awakeableHolder, ctx.key).hold(id);
      await promise;
      await ctx.objectClient(killSingleton, ctx.key).recursiveCall();
    },
    isUnlocked: async () => {},
  },
});

const killRunner = restate.object({
  name: "KillTestRunner",
  handlers: {
    startCallTree: async (ctx) => await ctx.objectClient(killSingleton, ctx.key).recursiveCall(),
  },
});

// --- failing ---

const failure = ({ errorMessage, metadata }) => new TerminalError(errorMessage, { metadata: metadata ?? undefined });
const attempts = (count) => ({ maxRetryAttempts: count, initialRetryInterval: 1, retryIntervalFactor: 1 });

const failing = restate.object({
  name: "Failing",
  handlers: {
    terminallyFailingCall: async (ctx, request) => {
      throw failure(request);
    },
    callTerminallyFailingCall: async (ctx, request) => {
      await ctx.objectClient(failing, ctx.rand.uuidv4()).terminallyFailingCall(request);
      throw new Error("the call above fails for good");
    },
    failingCallWithEventualSuccess: async (ctx) => {
      const attempt = oneMore(`call ${ctx.key}`);
      if (attempt < 4) throw new Error(`attempt ${attempt} fails`);
      return attempt;
    },
    terminallyFailingSideEffect: async (ctx, request) => {
      await ctx.run("fails for good", () => {
        throw failure(request);
      });
    },
    sideEffectSucceedsAfterGivenAttempts: async (ctx, minimum) =>
      await ctx.run(
        "succeeds at last",
        () => {
          const execution = oneMore(`succeeds ${ctx.request().id}`);
          if (execution < minimum) throw new Error(`execution ${execution} fails`);
          return execution;
        },
        attempts(minimum + 1),
      ),
    sideEffectFailsAfterGivenAttempts: async (ctx, maximum) => {
      const name = `fails ${ctx.key}`;
      try {
        await ctx.run("fails every time", () => { throw new Error(`execution ${oneMore(name)} fails`); }, attempts(maximum));
      } catch (error) {
        if (error instanceof TerminalError) return oneMore(name) - 1;
        throw error;
      }
      throw new Error("the run above runs out of attempts");
    },
  },
});

const isOddAttempt = (ctx) => oneMore(`attempt ${ctx.key}`) % 2 === 1;

async function tell(ctx) {
  await ctx.sleep(100);
  ctx.objectSendClient(counter, ctx.key).add(1);
}

const nonDeterministic = restate.object({
  name: "NonDeterministic",
  handlers: {
    setDifferentKey: async (ctx) => {
      ctx.set(isOddAttempt(ctx) ? "a" : "b", "my-state");
      await tell(ctx);
    },
    backgroundInvokeWithDifferentTargets: async (ctx) => {
      const client = ctx.objectSendClient(counter, "abc");
      if (isOddAttempt(ctx)) client.get();
      else client.reset();
      await tell(ctx);
    },
    callDifferentMethod: async (ctx) => {
      const client = ctx.objectClient(counter, "abc");
      await (isOddAttempt(ctx) ? client.get() : client.reset());
      await tell(ctx);
    },
    eitherSleepOrCall: async (ctx) => {
      if (isOddAttempt(ctx)) await ctx.sleep(100);
      else await ctx.objectClient(counter, "abc").get();
      await tell(ctx);
    },
  },
  // Every await ends the attempt, the second attempt differs, and nobody tries a third time.
  options: { inactivityTimeout: 0, retryPolicy: { maxAttempts: 1, onMaxAttempts: "kill" } },
});

// --- programs ---

const HELPER = "ServiceInterpreterHelper";
const callHelper = (ctx, method, value) =>
  ctx.genericCall({ service: HELPER, method, parameter: value === undefined ? new Uint8Array() : bytes(value) });
const sendHelper = (ctx, method, value, delay) => ctx.genericSend({ service: HELPER, method, parameter: bytes(value), delay });
const increment = (ctx, { layer, key }) =>
  ctx.genericSend({
    service: `ObjectInterpreterL${layer}`,
    method: "interpret",
    key,
    parameter: bytes({ commands: [{ kind: 4 }] }),
  });

const helper = restate.service({
  name: HELPER,
  handlers: {
    ping: async () => {},
    echo: async (ctx, text) => text,
    echoLater: async (ctx, { sleep, parameter }) => {
      await ctx.sleep(sleep);
      return parameter;
    },
    terminalFailure: async () => {
      throw new TerminalError("bye");
    },
    incrementIndirectly: async (ctx, interpreter) => void increment(ctx, interpreter),
    resolveAwakeable: async (ctx, id) => ctx.resolveAwakeable(id, "ok"),
    rejectAwakeable: async (ctx, id) => ctx.rejectAwakeable(id, "error"),
    incrementViaAwakeableDance: async (ctx, { interpreter, txPromiseId }) => {
      const { id, promise } = ctx.awakeable();
      ctx.resolveAwakeable(txPromiseId, id);
      await promise;
      increment(ctx, interpreter);
    },
  },
});

class Interpreter {
  constructor(ctx, layer) {
    this.ctx = ctx;
    this.me = { layer, key: ctx.key };
    this.started = new Map();
  }

  async run({ commands }) {
    const awaitedLater = new Set(commands.filter(({ kind }) => kind === 15).map(({ index }) => index));
    for (const [index, command] of commands.entries()) {
      await ACTIONS[command.kind](this, index, command);
      if (!awaitedLater.has(index)) await this.settle(index);
    }
  }

  start(index, expected, promise, read) {
    this.started.set(index, { expected, promise, read });
  }

  async settle(index) {
    if (!this.started.has(index)) return;
    const { expected, promise, read } = this.started.get(index);
    this.started.delete(index);
    let found;
    try {
      found = read(await promise);
    } catch (error) {
      if (!(error instanceof TerminalError)) throw error;
      found = "rejected";
    }
    if (found !== expected) throw new TerminalError(`command ${index}: expected ${expected}, found ${found}`);
  }

  async awaitAwakeable(index, expected, method) {
    const { id, promise } = this.ctx.awakeable();
    this.start(index, expected, promise, String);
    sendHelper(this.ctx, method, id);
  }
}

const ACTIONS = {
  1: async ({ ctx }, _, { key }) => ctx.set(`key-${key}`, `value-${key}`),
  2: async ({ ctx }, _, { key }) => void (await ctx.get(`key-${key}`)),
  3: async ({ ctx }, _, { key }) => ctx.clear(`key-${key}`),
  4: async ({ ctx }) => ctx.set("counter", ((await ctx.get("counter")) ?? 0) + 1),
  5: async ({ ctx, me }) => void sendHelper(ctx, "incrementIndirectly", me),
  6: async ({ ctx }, _, { duration }) => await ctx.sleep(duration),
  7: async (self, index) => self.start(index, `hello-${index}`, callHelper(self.ctx, "echo", `hello-${index}`), parsed),
  8: async (self, index, { sleep }) => {
    const parameter = `hello-${index}`;
    self.start(index, parameter, callHelper(self.ctx, "echoLater", { parameter, sleep }), parsed);
  },
  9: async ({ ctx, me }, _, { duration }) => void sendHelper(ctx, "incrementIndirectly", me, duration),
  10: async ({ ctx }, index) => {
    const found = await ctx.run("sideEffect", () => `hello-${index}`);
    if (found !== `hello-${index}`) throw new TerminalError(`command ${index}: found ${found}`);
  },
  11: async ({ ctx }) =>
    await ctx.run("throwingSideEffect", () => {
      if (Math.random() < 0.5) throw new Error("an unlucky execution");
    }),
  12: async ({ ctx }) => await ctx.run("slowSideEffect", () => new Promise((done) => setTimeout(done, 50))),
  13: async ({ ctx }, index) => {
    try {
      await callHelper(ctx, "terminalFailure");
    } catch (error) {
      if (error instanceof TerminalError) return;
      throw error;
    }
    throw new TerminalError(`command ${index} was expected to fail`);
  },
  14: async ({ ctx }) => void callHelper(ctx, "terminalFailure"),
  15: async (self, _, { index }) => await self.settle(index),
  16: async (self, index) => await self.awaitAwakeable(index, "ok", "resolveAwakeable"),
  17: async (self, index) => await self.awaitAwakeable(index, "rejected", "rejectAwakeable"),
  18: async ({ ctx, me }) => {
    const { id, promise } = ctx.awakeable();
    sendHelper(ctx, "incrementViaAwakeableDance", { interpreter: me, txPromiseId: id });
    ctx.resolveAwakeable(await promise, "ok");
  },
  19: async (self, index, { key, program }) => {
    const service = `ObjectInterpreterL${self.me.layer + 1}`;
    const promise = self.ctx.genericCall({ service, method: "interpret", key: String(key), parameter: bytes(program) });
    self.start(index, "", promise, (data) => new TextDecoder().decode(data));
  },
};

const layers = [0, 1, 2].map((layer) =>
  restate.object({
    name: `ObjectInterpreterL${layer}`,
    options: STATE,
    handlers: {
      interpret: async (ctx, program) => await new Interpreter(ctx, layer).run(program),
      counter: handlers.object.shared(async (ctx) => (await ctx.get("counter")) ?? 0),
    },
  }),
);

// --- awaiting several things ---

const slot = (awakeableKey) => `awk-${awakeableKey}`;

function createAwakeable(ctx, { awakeableKey }) {
  const { id, promise } = ctx.awakeable();
  ctx.set(slot(awakeableKey), id);
  return promise;
}

const STARTERS = {
  createAwakeable,
  createSignal: (ctx, { signalName }) => ctx.signal(signalName),
  sleep: (ctx, { timeoutMillis }) => ctx.sleep(timeoutMillis).map(() => "sleep"),
  runThrowTerminalException: (ctx, { reason }) =>
    ctx.run("fails as commanded", () => {
      throw new TerminalError(reason);
    }),
  runReturns: (ctx, { value }) => ctx.run("returns as commanded", () => value),
};
const start = (ctx, command) => STARTERS[command.type](ctx, command);
const startAll = (ctx, { commands }) => commands.map((command) => start(ctx, command));

async function completeAwakeable(ctx, { awakeableKey, reason, value }) {
  const id = await ctx.get(slot(awakeableKey));
  if (id === null) throw new TerminalError(`there is no awakeable ${awakeableKey}`);
  if (reason !== undefined) ctx.rejectAwakeable(id, reason);
  else ctx.resolveAwakeable(id, value);
  return "";
}

const awaitAny = (ctx, command) => RestatePromise.race(startAll(ctx, command));
const awaitAnySuccessful = (ctx, command) => RestatePromise.any(startAll(ctx, command));

const COMMANDS = {
  awaitOne: (ctx, { command }) => start(ctx, command),
  awaitAny,
  awaitFirstCompleted: awaitAny,
  awaitAnySuccessful,
  awaitFirstSucceededOrAllFailed: awaitAnySuccessful,
  awaitAllSucceededOrFirstFailed: async (ctx, command) => (await RestatePromise.all(startAll(ctx, command))).join("|"),
  awaitAllCompleted: async (ctx, command) => {
    const settled = await RestatePromise.allSettled(startAll(ctx, command));
    return settled.map(({ status, value, reason }) => (status === "fulfilled" ? `ok:${value}` : `err:${reason.message}`)).join("|");
  },
  awaitAwakeableOrTimeout: async (ctx, command) => {
    const awakeable = createAwakeable(ctx, command);
    try {
      return await awakeable.orTimeout(command.timeoutMillis);
    } catch (error) {
      if (error instanceof restate.TimeoutError) throw new TerminalError("await-timeout");
      throw error;
    }
  },
  resolveAwakeable: completeAwakeable,
  rejectAwakeable: completeAwakeable,
  getEnvVariable: (ctx, { envName }) => ctx.run("environment", () => process.env[envName] ?? ""),
};

const commandInterpreter = restate.object({
  name: "VirtualObjectCommandInterpreter",
  options: STATE,
  handlers: {
    interpretCommands: async (ctx, { commands }) => {
      let result = "";
      for (const command of commands) {
        result = await COMMANDS[command.type](ctx, command);
        ctx.set("results", [...((await ctx.get("results")) ?? []), result]);
      }
      return result;
    },
    resolveAwakeable: handlers.object.shared(async (ctx, command) => void (await completeAwakeable(ctx, command))),
    rejectAwakeable: handlers.object.shared(async (ctx, command) => void (await completeAwakeable(ctx, command))),
    hasAwakeable: handlers.object.shared(async (ctx, key) => (await ctx.get(slot(key))) !== null),
    getResults: handlers.object.shared(async (ctx) => (await ctx.get("results")) ?? []),
  },
});

// --- the life of an invocation ---

const permitted = new Set();
const failures = new Map();

function count(name) {
  failures.set(name, (failures.get(name) ?? 0) + 1);
  return failures.get(name);
}

function begin(name) {
  const attempt = count(name);
  if (!permitted.has(name)) throw new Error(`attempt ${attempt} of ${name} fails`);
  return `attempt ${attempt}`;
}

function permit(name) {
  permitted.add(name);
  return failures.get(name) ?? 0;
}

const KEPT_MS = 3_600_000;
const policy = (maxAttempts, onMaxAttempts) => ({ initialInterval: 10, maxAttempts, onMaxAttempts });

const lifecycle = restate.service({
  name: "Lifecycle",
  options: { journalRetention: KEPT_MS, retryPolicy: policy(2, "pause") },
  handlers: {
    permit: async (ctx, name) => permit(name),
    pausedAfterTwo: async (ctx, name) => begin(name),
    killedAfterThree: handlers.handler({ retryPolicy: policy(3, "kill") }, async (ctx, name) => begin(name)),
    retriedInAnHour: handlers.handler(
      { retryPolicy: { initialInterval: KEPT_MS, maxInterval: KEPT_MS } },
      async (ctx, name) => begin(name),
    ),
    attachTo: async (ctx, invocationId) => {
      try {
        return await ctx.attach(invocationId);
      } catch (error) {
        if (error instanceof TerminalError) return `failed with ${error.code}`;
        throw error;
      }
    },
    twoSteps: async (ctx, name) => {
      const first = await ctx.run("first", () => `execution ${count(name)}`);
      const drawn = ctx.rand.uuidv4();
      await ctx.sleep(20);
      return [first, drawn];
    },
    tree: async (ctx, { name, depth }) => {
      try {
        if (depth === 0) {
          ctx.objectSendClient(counter, `${name}-leaves`).add(1);
          await ctx.sleep(FOR_EVER_MS);
        }
        const children = [1, 2].map(() => ctx.serviceClient(lifecycle).tree({ name, depth: depth - 1 }));
        await RestatePromise.allSettled(children);
        for (const child of children) await child;
      } catch (error) {
        if (error instanceof TerminalError && error.code === CANCELLED) {
          ctx.objectSendClient(counter, `${name}-compensated`).add(1);
        }
        throw error;
      }
    },
  },
});

const byDefault = restate.service({
  name: "LifecycleByDefault",
  options: { journalRetention: KEPT_MS },
  handlers: { asTheServerSays: async (ctx, name) => begin(name) },
});

// --- the endpoint ---

const services = [
  awakeableHolder,
  blockAndWait,
  byDefault,
  cancelBlocking,
  cancelRunner,
  commandInterpreter,
  counter,
  failing,
  helper,
  killRunner,
  killSingleton,
  lifecycle,
  listObject,
  mapObject,
  nonDeterministic,
  proxy,
  testUtils,
  ...layers,
];
const endpoint = restate.endpoint();
for (const service of services) endpoint.bind(service);
const port = Number(process.env.PORT);
if (process.env.INTEROP_HTTP_1) http.createServer(endpoint.http1Handler()).listen(port);
else await endpoint.listen(port);
