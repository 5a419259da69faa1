// Draws one run: lanes over virtual time on a canvas, and the same events in a list beside it.
// Whatever the data says is text: it is drawn with fillText or set as textContent, never made markup.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const AT = 0, STEP = 1, LANE = 2, LIFE = 3, KIND = 4, INV = 5, WHAT = 6, FACTS = 7;
  const { events, messages, bars, locks, faults, kinds, processes, invocations } = data;

  const GROUPS = [
    ["claims", "claims", ["violation", "end"]],
    ["world", "world", ["start", "exit", "crash", "pause", "fault", "heal", "disk.cut", "leader", "log.cut",
      "log.trimmed", "snapshot", "restored"]],
    ["clients", "clients", ["ask", "answer", "gave_up", "act", "deployed", "removed", "ledger"]],
    ["records", "records", ["record", "replayed", "outbox", "accepted", "ended"]],
    ["journal", "journal", ["entry", "status", "lock", "unlock"]],
    ["attempts", "attempts", ["attempt.start", "attempt.end", "attempt.parked", "retry", "body.start", "body.end",
      "run", "hazard"]],
    ["messages", "messages", ["send", "receive", "request", "response"]],
    ["timers", "timers", ["timer.armed", "timer.disarmed", "timer.fired"]],
    ["disk", "disk", ["flush", "sync", "synced"]],
  ];
  const groupOfKind = kinds.map((kind) => {
    const found = GROUPS.findIndex((group) => group[2].includes(kind));
    return found < 0 ? 1 : found;
  });
  const kindIndex = (name) => kinds.indexOf(name);
  const VIOLATION = kindIndex("violation"), ENTRY = kindIndex("entry"), SEND = kindIndex("send");

  const LABELS = 196, AXIS = 22, STRIP = 17, SCROLL = 14;
  const CLAIMS = events.some((event) => kinds[event[KIND]] === "violation") ? AXIS + STRIP : 0;  // their own strip
  const TOP = (CLAIMS || AXIS) + STRIP;
  const INV_ROW = 16, LOCK_ROW = 14, HEAD_ROW = 20, LEVEL = 5, LEVELS_MAX = 8;
  const ROW = 20, NAMED_MAX = 24, ROWS_MAX = 24;

  const list = byId("list"), rows = byId("rows");

  const on = GROUPS.map((group) => group[0] !== "disk");
  let chosen = -1, hovered = null, words = [], only = null, compress = true, mouse = null;
  let shown = [], matching = null, hits = [];
  let colors = {};

  // --- time: what lies far apart is drawn nearer --------------------------------------------------------------

  const times = [...new Set([0, data.ended, ...events.map((event) => event[AT])])].sort((a, b) => a - b);
  let bent = [], stretches = [];

  function bendTime() {
    const gaps = [];
    for (let i = 1; i < times.length; i++) gaps.push(times[i] - times[i - 1]);
    const sorted = [...gaps].sort((a, b) => a - b);
    const usual = Math.max(1, sorted[Math.floor(sorted.length * 0.92)] || 1);
    bent = [0];
    stretches = [];
    gaps.forEach((gap, i) => {
      const drawn = !compress || gap <= usual ? gap : usual * (1 + 0.7 * Math.log10(gap / usual));
      bent.push(bent[i] + drawn);
      if (compress && gap > 40 * usual) stretches.push([times[i], times[i + 1], bent[i], bent[i + 1]]);
    });
    if (bent.length === 1) { times.push(times[0] + 1); bent.push(1); }
  }

  function place(list, value) {
    let low = 0, high = list.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (list[middle] <= value) low = middle; else high = middle;
    }
    return low;
  }
  function between(from, to, value) {
    const i = place(from, value);
    const size = from[i + 1] - from[i];
    return to[i] + (size ? ((value - from[i]) / size) * (to[i + 1] - to[i]) : 0);
  }
  const toBent = (ns) => between(times, bent, ns);
  const toTime = (at) => between(bent, times, at);
  const whole = () => bent[bent.length - 1];
  let left = 0, right = 1;

  // --- lanes ---------------------------------------------------------------------------------------------------

  let lanes = [], invRows = new Map(), lockRows = [], heads = [], height = 0;

  function levels(list) {
    const ends = [], level = new Map();
    for (const bar of list) {
      let found = ends.findIndex((end) => end <= bar[2]);
      if (found < 0) found = ends.length < LEVELS_MAX ? ends.length : LEVELS_MAX - 1;
      ends[found] = bar[3];
      level.set(bar, found);
    }
    return [level, Math.max(1, ends.length)];
  }

  // Where there are many rows, only those are shown that have something to show.
  const spans = new Map(invocations.map((one) => [one[0], [Infinity, -Infinity]]));
  function span(number, from, to) {
    const known = spans.get(number);
    if (!known) return;
    known[0] = Math.min(known[0], from);
    known[1] = Math.max(known[1], to);
  }
  for (const event of events) span(event[INV], event[AT], event[AT]);
  for (const bar of bars) if (bar[0] === "status") span(bar[1], bar[2], bar[3]);
  const lockedObjects = new Set(locks.map((lock) => lock[0])).size;
  const isInView = (from, to) => toBent(to) >= left && toBent(from) <= right;

  function layOut() {
    let y = 4;
    lanes = processes.map((name, lane) => {
      const busy = bars.filter((bar) => bar[1] === lane && (bar[0] === "body" || bar[0] === "attempt"));
      busy.sort((a, b) => a[2] - b[2]);
      const [level, count] = levels(busy);
      const found = { name, y, height: 24 + (busy.length ? count * LEVEL + 3 : 0), level };
      y += found.height + 4;
      return found;
    });
    heads = [];
    invRows = new Map();
    const all = invocations.filter((one) => !only || only.has(one[0]));
    const some = all.length > ROWS_MAX ? all.filter((one) => isInView(...spans.get(one[0]))) : all;
    if (all.length) {
      heads.push([some.length < all.length ? `invocations in view (${some.length} of ${all.length})` : "invocations", y]);
      y += HEAD_ROW;
      for (const one of some) { invRows.set(one[0], y); y += INV_ROW; }
    }
    lockRows = [];
    const rows = new Map();
    locks.forEach((lock, index) => {
      if (only && !only.has(lock[3])) return;
      if (lockedObjects > ROWS_MAX && !isInView(lock[1], lock[2])) return;
      if (!rows.has(lock[0])) {
        if (!rows.size) { heads.push(["locks", y + 4]); y += HEAD_ROW + 4; }
        rows.set(lock[0], y);
        y += LOCK_ROW;
      }
      lockRows.push([rows.get(lock[0]), index]);
    });
    lockRows.names = rows;
    height = y + 12;
    byId("scrolled").style.height = `${height + TOP}px`;
  }

  // --- words ---------------------------------------------------------------------------------------------------

  function seconds(ns, decimals = 6) {
    return `${(ns / 1e9).toFixed(decimals)} s`;
  }
  function long(ns) {
    const s = ns / 1e9;
    if (s >= 5400) return `${(s / 3600).toFixed(1)} h`;
    if (s >= 90) return `${(s / 60).toFixed(1)} min`;
    if (s >= 1) return `${s.toFixed(1)} s`;
    if (s >= 1e-3) return `${(s * 1e3).toFixed(1)} ms`;
    return `${(s * 1e6).toFixed(1)} µs`;
  }
  const who = (event) => (event[LANE] < 0 ? "" : `${processes[event[LANE]]}.${event[LIFE]}`);
  const invocationName = (number) => {
    const one = invocations[number - 1];
    return one ? `#${number} ${one[2]}${one[3] ? ` (${one[3]})` : ""}` : "";
  };
  const color = (event) => colors[GROUPS[groupOfKind[event[KIND]]][0]];

  // --- which events are meant ----------------------------------------------------------------------------------

  function isMeant(event) {
    if (!on[groupOfKind[event[KIND]]]) return false;
    if (only && !only.has(event[INV])) return false;
    return words.every((word) => {
      const [, key, value] = /^(kind|on|step|inv):(.*)$/.exec(word) || [null, "", word];
      if (key === "kind") return kinds[event[KIND]].startsWith(value);
      if (key === "on") return who(event).startsWith(value);
      if (key === "step") return String(event[STEP]) === value;
      if (key === "inv" || /^#\d+$/.test(word)) return String(event[INV]) === value.replace("#", "");
      const text = `${event[WHAT]} ${kinds[event[KIND]]} ${who(event)} ${invocationName(event[INV])}`;
      return text.toLowerCase().includes(value);
    });
  }

  function filter() {
    words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    shown = [];
    events.forEach((event, index) => { if (isMeant(event)) shown.push(index); });
    matching = words.length || only ? new Set(shown) : null;
    byId("count").textContent = `${shown.length} of ${events.length}`;
    byId("rows").style.height = `${shown.length * ROW}px`;
    list.scrollTop = Math.max(0, shown.findIndex((index) => index >= chosen) * ROW - list.clientHeight / 2);
    fillList();
    drawSoon();
  }

  function family(number) {
    if (!number) return null;
    const members = new Set([number]);
    for (const one of invocations) if (members.has(one[4])) members.add(one[0]);
    return members;
  }

  function restrict(number) {
    only = family(number);
    byId("invocation").value = String(number);
    layOut();
    byId("scrollbar").scrollTop = 0;
    filter();
  }

  // --- the canvas ----------------------------------------------------------------------------------------------

  const canvas = byId("canvas"), context = canvas.getContext("2d");
  let width = 0, tall = 0, waiting = false;

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["back", "panel", "line", "ink", "faint", "mark", "bad", "chosen", "life", "pause", "body", "attempt",
      "fault", "fault-line", "nothing", "scheduled", "inboxed", "invoked", "suspended", "paused", "lock",
      ...GROUPS.map((group) => group[0])];
    colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  function resize() {
    const box = byId("timeline").getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    width = Math.max(200, box.width - SCROLL);
    tall = Math.max(80, box.height);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${tall}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (lanes.length) draw();  // a canvas of another size is empty: nobody is to see it
  }

  const x = (ns) => LABELS + ((toBent(ns) - left) / (right - left)) * (width - LABELS);
  const atX = (px) => left + ((px - LABELS) / (width - LABELS)) * (right - left);
  const scrollY = () => byId("scrollbar").scrollTop;
  const y = (row) => TOP + row - scrollY();
  const isDim = (index) => matching !== null && !matching.has(index);

  function drawSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  // Words in the lanes, where there is room for them.
  let written = [];
  function write(text, at, base, size) {
    context.font = `${size}px system-ui, sans-serif`;
    context.textAlign = "left";
    const wide = context.measureText(text).width;
    const box = [at, base - size, at + wide, base + 1];
    if (written.some((one) => box[0] < one[2] && box[2] > one[0] && box[1] < one[3] && box[3] > one[1])) return;
    written.push(box);
    context.fillText(text, at, base);
  }

  function hit(x0, y0, x1, y1, what, index) {
    hits.push([x0, y0, x1, y1, what, index]);
  }

  function draw() {
    hits = [];
    written = [];
    context.clearRect(0, 0, width, tall);
    context.fillStyle = colors.back;
    context.fillRect(0, 0, width, tall);
    context.save();
    context.beginPath();
    context.rect(LABELS, TOP, width - LABELS, tall - TOP);
    context.clip();
    drawStretches();
    drawFaults();
    drawLanes();
    drawInvocations();
    drawLocks();
    drawEvents();
    if (on[6]) drawMessages();
    context.restore();
    drawAxis();
    drawStrip();
    drawMarks();
    drawLabels();
  }

  function drawStretches() {
    context.fillStyle = colors.nothing;
    for (const [from, to] of stretches) {
      const x0 = Math.max(LABELS, x(from) + 2), x1 = Math.min(width, x(to) - 2);
      if (x1 > x0) context.fillRect(x0, TOP, x1 - x0, tall);
    }
  }

  function drawFaults() {
    for (const [, on_, from, to] of faults) {
      const x0 = x(from), x1 = Math.max(x(to), x0 + 1);
      if (x1 < LABELS || x0 > width) continue;
      for (const lane of on_) {
        context.fillStyle = colors.fault;
        context.fillRect(x0, y(lanes[lane].y) - 2, Math.max(2, x1 - x0), lanes[lane].height + 4);
        context.fillStyle = colors["fault-line"];
        context.fillRect(x0 - 0.5, y(lanes[lane].y) - 2, 1, lanes[lane].height + 4);
      }
    }
  }

  function drawLanes() {
    for (const lane of lanes) {
      context.fillStyle = colors.line;
      context.fillRect(LABELS, y(lane.y + lane.height) + 1.5, width, 0.5);
    }
    bars.forEach((bar, index) => {
      const [kind, lane, from, to, , number] = bar;
      if (kind === "status" || lane < 0) return;
      const x0 = x(from), x1 = Math.max(x(to), x0 + 1.5);
      if (x1 < LABELS || x0 > width) return;
      const row = lanes[lane];
      let top = y(row.y) + 3, size = 15;
      if (kind === "body" || kind === "attempt") {
        top = y(row.y) + 23 + row.level.get(bar) * LEVEL;
        size = LEVEL - 1;
      }
      context.globalAlpha = only && number && !only.has(number) ? 0.2 : 1;
      context.fillStyle = colors[kind];
      context.fillRect(x0, top, x1 - x0, size);
      context.globalAlpha = 1;
      hit(x0, top, x1, top + size, "bar", index);
    });
  }

  function drawInvocations() {
    bars.forEach((bar, index) => {
      if (bar[0] !== "status" || !invRows.has(bar[1])) return;
      const x0 = x(bar[2]), x1 = Math.max(x(bar[3]), x0 + 1.5), top = y(invRows.get(bar[1])) + 4;
      if (x1 < LABELS || x0 > width || top > tall || top < TOP - 20) return;
      context.fillStyle = colors[bar[4].toLowerCase()] || colors.line;
      context.fillRect(x0, top, x1 - x0, 8);
      hit(x0, top, x1, top + 8, "bar", index);
    });
  }

  function drawLocks() {
    for (const [row, index] of lockRows) {
      const [, from, to, number] = locks[index];
      const x0 = x(from), x1 = Math.max(x(to), x0 + 1.5), top = y(row) + 2;
      if (x1 < LABELS || x0 > width || top > tall || top < TOP - 20) continue;
      context.fillStyle = colors.lock;
      context.fillRect(x0, top, x1 - x0 - 0.5, LOCK_ROW - 4);
      if (x1 - x0 > 26) {
        context.fillStyle = colors.ink;
        context.font = "9px system-ui, sans-serif";
        context.textAlign = "left";
        context.fillText(`#${number}`, Math.max(x0, LABELS) + 3, top + 8);
      }
      hit(x0, top, x1, top + LOCK_ROW - 4, "lock", index);
    }
  }

  function drawMessages() {
    const visible = [];
    messages.forEach((one, index) => {
      const end = one[4] < 0 ? one[3] : one[4];
      if (x(end) >= LABELS - 40 && x(one[3]) <= width + 40) visible.push(index);
    });
    const faint = visible.length > 600 ? 0.18 : visible.length > 200 ? 0.35 : 0.7;
    for (const index of visible) {
      const one = messages[index];
      const [number, source, target, sent, received, about, , lost] = one;
      const x0 = x(sent), y0 = y(lanes[source].y) + (source < target ? 18 : 3);
      const isThere = received >= 0;
      const x1 = isThere ? x(received) : x0 + 14;
      const way = lanes[target].y > lanes[source].y ? 1 : -1;
      const y1 = isThere ? y(lanes[target].y) + (source < target ? 3 : 18) : y0 + 12 * way;
      const meant = (!only || only.has(about)) && (!words.length || matching.has(sentEvent.get(number)));
      const isHovered = hovered && hovered[0] === "message" && hovered[1] === index;
      context.globalAlpha = isHovered ? 1 : meant ? faint : 0.06;
      context.strokeStyle = context.fillStyle = lost ? colors.bad : isHovered ? colors.mark : colors.messages;
      context.lineWidth = isHovered ? 2 : 1;
      context.setLineDash(isThere ? [] : [3, 3]);
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
      context.setLineDash([]);
      arrow(x0, y0, x1, y1, lost && !isThere);
      hits.push([x0, y0, x1, y1, "message", index]);
      if (visible.length <= NAMED_MAX && meant) {
        context.globalAlpha = 1;
        const text = one[6].length > 34 ? `${one[6].slice(0, 33)}…` : one[6];
        write(text, Math.max(x0, LABELS) + 5, y0 + (way > 0 ? 11 : -4), 10);
      }
    }
    context.globalAlpha = 1;
    context.lineWidth = 1;
  }

  function arrow(x0, y0, x1, y1, isLost) {
    if (isLost) {
      context.fillText("×", x1 - 3, y1 + 4);
      return;
    }
    const angle = Math.atan2(y1 - y0, x1 - x0);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x1 - 6 * Math.cos(angle - 0.4), y1 - 6 * Math.sin(angle - 0.4));
    context.lineTo(x1 - 6 * Math.cos(angle + 0.4), y1 - 6 * Math.sin(angle + 0.4));
    context.fill();
  }

  function drawEvents() {
    const last = lanes.map(() => [-99, 0]);
    const [first, end] = visibleEvents();
    const areNamed = end - first <= 3 * NAMED_MAX;
    for (let index = first; index < end; index++) {
      const event = events[index];
      if (!on[groupOfKind[event[KIND]]]) continue;
      const at = x(event[AT]);
      context.globalAlpha = isDim(index) ? 0.12 : 1;
      context.fillStyle = color(event);
      if (event[KIND] === ENTRY && invRows.has(event[INV])) {
        const top = y(invRows.get(event[INV])) + 2;
        context.fillRect(at - 0.75, top, 1.5, 12);
        hit(at - 2, top, at + 2, top + 12, "event", index);
      } else if (event[LANE] >= 0 && groupOfKind[event[KIND]] !== 6) {
        const lane = event[LANE], before = last[lane];
        before[1] = at - before[0] < 2.5 ? before[1] + 1 : 0;
        before[0] = at;
        const top = y(lanes[lane].y) + 4 + (before[1] % 4) * 3.5;
        context.fillRect(at - 1, top, 2.2, 3);
        hit(at - 2, top - 1, at + 2, top + 3, "event", index);
        if (areNamed && before[1] === 0) write(kinds[event[KIND]], at + 4, top + 8, 9);
      }
    }
    context.globalAlpha = 1;
  }

  function visibleEvents() {
    const from = toTime(Math.max(0, left)), to = toTime(Math.min(whole(), right));
    let first = 0, end = events.length;
    while (first < end && events[first][AT] < from) first++;
    while (end > first && events[end - 1][AT] > to) end--;
    return [first, end];
  }

  function drawAxis() {
    context.fillStyle = colors.panel;
    context.fillRect(0, 0, width, AXIS);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (let px = LABELS + 60; px < width - 30; px += 120) {
      const ns = toTime(atX(px)), near = toTime(Math.min(whole(), atX(px + 60))) - ns;
      const decimals = Math.min(9, Math.max(0, Math.ceil(1 - Math.log10(Math.max(near, 1) / 1e9))));
      context.fillStyle = colors.faint;
      context.fillText(seconds(ns, decimals), px, 14);
      context.fillStyle = colors.line;
      context.fillRect(px, AXIS - 4, 1, 4);
    }
    for (const [from, to] of stretches) {
      const x0 = x(from), x1 = x(to);
      if (x1 < LABELS || x0 > width || x1 - x0 < 8) continue;
      if (x1 - x0 < 46) continue;
      const text = x1 - x0 > 96 ? `${long(to - from)} of nothing` : long(to - from);
      context.fillStyle = colors.faint;
      context.fillText(text, (Math.max(x0, LABELS) + Math.min(x1, width)) / 2, tall - 6, x1 - x0);
    }
  }

  function drawStrip() {
    context.save();
    context.beginPath();
    context.rect(LABELS, AXIS, width - LABELS, STRIP);
    context.clip();
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "left";
    faults.forEach((fault, index) => {
      const x0 = x(fault[2]), x1 = Math.max(x(fault[3]), x0 + 2);
      if (x1 < LABELS || x0 > width) return;
      context.fillStyle = colors.fault;
      context.fillRect(x0, AXIS, x1 - x0, STRIP);
      context.fillStyle = colors["fault-line"];
      context.fillRect(x0 - 0.5, AXIS, 1.5, STRIP);
      hit(x0 - 2, AXIS, Math.max(x1, x0 + 4), AXIS + STRIP, "fault", index);
    });
    let free = -1;
    for (const [kind, , from, to] of faults) {
      const x0 = Math.max(x(from), LABELS), size = context.measureText(kind).width;
      if (x0 <= free || x0 > width || Math.max(x(to), x(from) + 2) < LABELS) continue;
      context.fillStyle = colors.back;
      context.fillRect(x0 + 2, AXIS + 2, size + 4, STRIP - 4);
      context.fillStyle = colors["fault-line"];
      context.fillText(kind, x0 + 4, AXIS + 12);
      free = x0 + size + 10;
    }
    context.restore();
  }

  function drawMarks() {
    const line = (ns, style, wide) => {
      const at = x(ns);
      if (at < LABELS || at > width) return false;
      context.fillStyle = style;
      context.fillRect(at - wide / 2, AXIS, wide, tall);
      return at;
    };
    if (chosen >= 0) line(events[chosen][AT], colors.mark, 1.5);
    if (!CLAIMS) return;
    context.textAlign = "left";
    context.font = "bold 10px system-ui, sans-serif";
    const broken = [];
    events.forEach((event, index) => {
      const at = event[KIND] === VIOLATION && line(event[AT], colors.bad, 2);
      if (at !== false) broken.push([event, index, at]);
    });
    let free = LABELS;
    broken.forEach(([event, index, at]) => {
      hit(at - 3, CLAIMS, at + 3, tall, "event", index);
      // The whole claim where there is room, its first word (P3) where there is not.
      const claim = event[FACTS].claim;
      for (const text of [claim, claim.split(" ")[0]]) {
        const size = context.measureText(text).width + 8;
        const begin = [at, at - size, width - size].find((one) => one >= free && one <= at && one + size <= width);
        if (begin === undefined) continue;
        context.fillStyle = colors.bad;
        context.fillRect(begin, CLAIMS + 1, size, STRIP - 2);
        context.fillStyle = colors.back;
        context.fillText(text, begin + 4, CLAIMS + 12);
        hit(begin, CLAIMS, begin + size, TOP, "event", index);
        free = begin + size + 2;
        return;
      }
    });
  }

  function drawLabels() {
    context.fillStyle = colors.back;
    context.fillRect(0, TOP, LABELS - 4, tall);
    context.fillStyle = colors.panel;
    context.fillRect(0, 0, LABELS - 4, TOP);
    context.fillStyle = colors.faint;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText("virtual time", 10, 14);
    context.fillText("faults", 10, AXIS + 12);
    if (CLAIMS) context.fillText("broken claims", 10, CLAIMS + 12);
    context.save();
    context.beginPath();
    context.rect(0, TOP, LABELS - 4, tall);
    context.clip();
    context.fillStyle = colors.ink;
    context.font = "bold 12px system-ui, sans-serif";
    for (const lane of lanes) context.fillText(lane.name, 10, y(lane.y) + 15, LABELS - 20);
    context.font = "11px system-ui, sans-serif";
    for (const [text, row] of heads) {
      context.fillStyle = colors.faint;
      context.fillText(text, 10, y(row) + 14);
    }
    context.fillStyle = colors.ink;
    const about = chosen >= 0 ? events[chosen][INV] : 0;
    for (const [number, row] of invRows) {
      context.fillStyle = number === about ? colors.mark : colors.ink;
      context.fillText(clipped(invocationName(number)), 10, y(row) + 12);
    }
    context.fillStyle = colors.ink;
    for (const [object, row] of lockRows.names || []) context.fillText(clipped(object), 10, y(row) + 11);
    context.restore();
    context.fillStyle = colors.line;
    context.fillRect(LABELS - 4, 0, 1, tall);
    context.fillRect(0, TOP, width, 1);
  }

  const clips = new Map();
  function clipped(text) {
    if (!clips.has(text)) {
      let short = text;
      while (short.length > 4 && context.measureText(short).width > LABELS - 22) short = `${short.slice(0, -2).trimEnd()}…`;
      clips.set(text, short);
    }
    return clips.get(text);
  }

  // --- moving about --------------------------------------------------------------------------------------------

  function look(from, to) {
    const all = whole(), least = all / 1e7;
    let size = Math.min(Math.max(to - from, least), all * 1.04);
    let begin = from + (to - from - size) / 2;
    begin = Math.min(Math.max(begin, -all * 0.02), all * 1.02 - size);
    left = begin;
    right = begin + size;
    layOut();
    drawSoon();
  }
  const fit = () => look(-whole() * 0.01, whole() * 1.01);
  function zoom(factor, around = (left + right) / 2) {
    look(around - (around - left) * factor, around + (right - around) * factor);
  }
  const pan = (share) => look(left + (right - left) * share, right + (right - left) * share);
  function toEvent(index, closer) {
    const at = toBent(events[index][AT]);
    const size = closer ? Math.min(right - left, whole() / 60) : right - left;
    if (closer || at < left + size * 0.05 || at > right - size * 0.05) look(at - size / 2, at + size / 2);
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) byId("scrollbar").scrollTop += event.deltaY || event.deltaX;
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / 800);
    else zoom(Math.exp(event.deltaY * 0.0016), atX(event.offsetX));
  }, { passive: false });

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, left, right, scroll: scrollY(), moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    mouse = [event.offsetX, event.offsetY, event.clientX, event.clientY];
    if (!drag) { hover(); return; }
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (Math.abs(dx) + Math.abs(dy) > 3) drag.moved = true;
    if (!drag.moved) return;
    canvas.classList.add("dragging");
    const share = (dx / (width - LABELS)) * (drag.right - drag.left);
    byId("scrollbar").scrollTop = drag.scroll - dy;
    look(drag.left - share, drag.right - share);
    hide();
  });
  canvas.addEventListener("pointerup", () => {
    const moved = drag && drag.moved;
    drag = null;
    canvas.classList.remove("dragging");
    if (moved) return;
    const found = under();
    if (found) choose(eventOf(found), { scroll: true });
  });
  canvas.addEventListener("pointerleave", () => { mouse = null; hide(); });
  canvas.addEventListener("dblclick", (event) => zoom(0.25, atX(event.offsetX)));
  byId("scrollbar").addEventListener("scroll", drawSoon);
  window.addEventListener("resize", () => { resize(); fillList(); });

  // --- hovering ------------------------------------------------------------------------------------------------

  const sentEvent = new Map();
  events.forEach((event, index) => { if (event[KIND] === SEND) sentEvent.set(event[FACTS].message, index); });

  function eventOf([what, index]) {
    if (what === "event") return index;
    if (what === "message") return sentEvent.get(messages[index][0]);
    if (what === "bar") return bars[index][6];
    return what === "lock" ? locks[index][4] : faults[index][5];
  }

  function distance([x0, y0, x1, y1], px, py) {
    const dx = x1 - x0, dy = y1 - y0, size = dx * dx + dy * dy;
    const part = size ? Math.min(1, Math.max(0, ((px - x0) * dx + (py - y0) * dy) / size)) : 0;
    return Math.hypot(px - x0 - part * dx, py - y0 - part * dy);
  }

  function under() {
    if (!mouse || mouse[0] < LABELS) return null;
    const [px, py] = mouse, rank = { event: 0, message: 1, fault: 2, lock: 2, bar: 3 };
    let best = null, least = Infinity;
    for (const one of hits) {
      const off = one[4] === "message" ? distance(one, px, py)
        : Math.max(0, one[0] - px, px - one[2], one[1] - py, py - one[3]);
      if (off > 3.5) continue;
      const score = rank[one[4]] * 10 + off;
      if (score < least) { least = score; best = [one[4], one[5]]; }
    }
    return best;
  }

  function hover() {
    const found = under(), before = hovered;
    hovered = found;
    canvas.style.cursor = found ? "pointer" : "";
    if (String(before) !== String(found)) drawSoon();
    const hint = byId("hint");
    if (!found) { hint.hidden = true; return; }
    hint.replaceChildren(...hintOf(found));
    hint.hidden = false;
    const box = byId("timeline").getBoundingClientRect();
    hint.style.left = `${Math.min(mouse[0] + 14, box.width - hint.offsetWidth - 6)}px`;
    const below = mouse[1] + 16;
    hint.style.top = `${below + hint.offsetHeight > box.height ? mouse[1] - hint.offsetHeight - 10 : below}px`;
  }
  function hide() { hovered = null; byId("hint").hidden = true; drawSoon(); }

  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function hintOf([what, index]) {
    if (what === "event") {
      const event = events[index];
      return [element("div", `step ${event[STEP]}, ${seconds(event[AT], 9)}, ${who(event)}`, "when"),
        element("div", `${kinds[event[KIND]]}: ${event[WHAT]}`), element("div", invocationName(event[INV]))];
    }
    if (what === "message") {
      const [number, source, target, sent, received, about, text, lost] = messages[index];
      const took = received >= 0 ? `took ${long(received - sent)}` : lost ? "lost" : "on its way";
      return [element("div", `message ${number}, ${processes[source]} → ${processes[target]}, ${took}`, "when"),
        element("div", text), element("div", invocationName(about))];
    }
    const [name, from, to, text, number] = what === "bar" ? [bars[index][0], ...bars[index].slice(2, 6)]
      : what === "lock" ? [`lock of ${locks[index][0]}`, locks[index][1], locks[index][2], "", locks[index][3]]
        : [faults[index][0], faults[index][2], faults[index][3], faults[index][4], 0];
    return [element("div", `${name}, ${seconds(from)}${to > from ? ` to ${seconds(to)} (${long(to - from)})` : ""}`, "when"),
      element("div", text), element("div", invocationName(number))];
  }

  // --- the list ------------------------------------------------------------------------------------------------

  function fillList() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8);
    const end = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 8);
    const made = [];
    for (let i = first; i < end; i++) made.push(rowOf(shown[i], i));
    rows.replaceChildren(...made);
    const active = chosen >= 0 && shown.includes(chosen) ? `row-${chosen}` : "";
    if (active) list.setAttribute("aria-activedescendant", active); else list.removeAttribute("aria-activedescendant");
  }

  function rowOf(index, position) {
    const event = events[index], row = element("div", undefined, event[KIND] === VIOLATION ? "row bad" : "row");
    row.id = `row-${index}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(index === chosen));
    row.setAttribute("aria-posinset", String(position + 1));
    row.setAttribute("aria-setsize", String(shown.length));
    row.style.top = `${position * ROW}px`;
    const kind = element("span", kinds[event[KIND]], "kind");
    kind.style.color = color(event);
    row.append(element("span", event[STEP], "step"), element("span", (event[AT] / 1e9).toFixed(6), "at"),
      element("span", who(event), "who"), kind, element("span", event[INV] ? `#${event[INV]}` : "", "inv"),
      element("span", event[WHAT], "what"));
    row.addEventListener("click", () => choose(index, {}));
    return row;
  }
  list.addEventListener("scroll", fillList);

  function choose(index, { scroll = true, closer = false, silent = false } = {}) {
    if (index === undefined || index < 0 || index >= events.length) return;
    chosen = index;
    const position = shown.indexOf(index);
    if (position >= 0 && scroll) {
      const top = position * ROW;
      if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - ROW) {
        list.scrollTop = top - list.clientHeight / 2;
      }
    }
    toEvent(index, closer);
    describe(index);
    fillList();
    drawSoon();
    if (!silent) history.replaceState(null, "", `#step=${events[index][STEP]}&event=${index + 1}`);
  }

  function describe(index) {
    const event = events[index], kind = event[KIND];
    const title = element("h2", `${kinds[kind]}: ${event[WHAT]}`);
    const facts = element("dl");
    const say = (name, value) => {
      if (value === "" || value === undefined) return;
      facts.append(element("dt", name), element("dd", value));
    };
    say("what it is", data.kindTexts[kind]);
    say("step", event[STEP]);
    say("virtual time", seconds(event[AT], 9));
    say("process", who(event));
    if (event[INV]) {
      say("invocation", invocationName(event[INV]));
      say("id", invocations[event[INV] - 1][1]);
    }
    for (const [name, value] of Object.entries(event[FACTS])) {
      if (name.endsWith("_ns")) say(name.slice(0, -3), value ? long(value) : "");
      else say(name.replace("_", " "), Array.isArray(value) ? value.join(", ") : value);
    }
    if (data.line) {
      facts.append(element("dt", "be there"), element("dd"));
      facts.lastChild.append(element("code", `understudy replay ${data.line} --until ${event[STEP]} --repl`));
    }
    const links = element("div", undefined, "links");
    const link = (text, act) => {
      const made = element("button", text);
      made.addEventListener("click", act);
      links.append(made);
    };
    if (event[INV] && !only) link(`only #${event[INV]} and what it called`, () => restrict(event[INV]));
    if (only) link("all invocations", () => restrict(0));
    const number = event[FACTS].message;
    if (number !== undefined) {
      const other = events.findIndex((one, at) => at !== index && one[FACTS].message === number);
      if (other >= 0) link(kind === SEND ? "where it arrives" : "where it was sent", () => choose(other));
    }
    byId("detail").replaceChildren(title, facts, links);
  }

  function walk(way) {
    if (!shown.length) return;
    const here = shown.indexOf(chosen);
    let position = here + way;
    if (here < 0) {
      position = shown.findIndex((index) => index > chosen);
      if (way < 0) position -= 1;
    }
    choose(shown[Math.min(Math.max(position, 0), shown.length - 1)]);
  }

  function nextOf(name) {
    const kind = kindIndex(name);
    const later = events.findIndex((event, index) => index > chosen && event[KIND] === kind);
    choose(later >= 0 ? later : events.findIndex((event) => event[KIND] === kind), { closer: true });
  }

  // --- the page ------------------------------------------------------------------------------------------------

  const KEYS = [["← →", "pan"], ["+ −", "zoom (or the wheel; drag to pan, shift and wheel to scroll)"], ["0", "all"],
    ["n p", "next, previous event"], ["v", "next broken claim"], ["f", "next fault"], ["z", "zoom to the event"],
    ["/", "search"], ["c", "compress time"], ["t", "light or dark"], ["Esc", "forget the search"], ["?", "these"]];

  const ACTS = {
    "ArrowLeft": () => pan(-0.15), "ArrowRight": () => pan(0.15),
    "ArrowUp": () => { byId("scrollbar").scrollTop -= 40; }, "ArrowDown": () => { byId("scrollbar").scrollTop += 40; },
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "0": fit, "Home": fit,
    "n": () => walk(1), "p": () => walk(-1), "v": () => nextOf("violation"), "f": () => nextOf("fault"),
    "z": () => { if (chosen >= 0) choose(chosen, { closer: true }); },
    "/": () => byId("search").focus(), "c": () => byId("compress").click(), "t": () => byId("theme").click(),
    "?": () => byId("help").click(),
    "Escape": () => { byId("search").value = ""; restrict(0); },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (inField) {
      if (event.target.id === "search" && event.key === "Enter") walk(event.shiftKey ? -1 : 1);
      else if (event.target.id === "search" && event.key === "Escape") { ACTS.Escape(); canvas.focus(); }
      return;
    }
    const inList = event.target === list;
    if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) walk(event.key === "ArrowDown" ? 1 : -1);
    else if (ACTS[event.key] && !(event.target.tagName === "BUTTON" && event.key === " ")) ACTS[event.key]();
    else return;
    event.preventDefault();
  });

  function fromHash() {
    const found = new URLSearchParams(location.hash.slice(1));
    const number = Number(found.get("event")), step = Number(found.get("step"));
    const silent = true;
    if (number >= 1 && number <= events.length && (!step || events[number - 1][STEP] === step)) {
      choose(number - 1, { silent });
    } else if (step) {
      const at = events.findIndex((event) => event[STEP] >= step);
      choose(at >= 0 ? at : events.length - 1, { silent, closer: true });
    }
  }

  // The same claim may break more than once: the one that was told is meant.
  function whereBroken(story) {
    const broken = (one) => one[KIND] === VIOLATION && one[FACTS].claim === story.claim;
    const told = `${story.claim}: ${story.differs}`;  // either may be cut short
    const says = (text) => told.startsWith(text) || text.startsWith(told);
    const meant = events.findIndex((one) => broken(one) && one[AT] === story.at && says(one[WHAT].replace(/…$/, "")));
    return meant >= 0 ? meant : events.findIndex(broken);
  }

  function header() {
    const claims = data.stories.length;
    const facts = byId("facts");
    facts.append(`${data.steps} steps, ${seconds(data.ended, 3)} of virtual time, ${data.ending}; digest ${data.digest.slice(0, 12)}. `);
    facts.append(claims ? "" : element("b", "All claims hold, as far as it went."));
    if (data.variation) {
      const varied = element("details", undefined, "varied");
      varied.append(element("summary", "Not as its seed alone would have it"), element("code", data.variation));
      facts.after(varied);
    }
    for (const story of data.stories) {
      const box = element("details", undefined, "story"), told = element("dl");
      box.open = story === data.stories[0];
      const summary = element("summary", `broken at ${seconds(story.at, 3)}: ${story.claim} `);
      box.append(summary, told);
      const lines = [["operation", story.operation], ["fault", story.fault], ["differs", story.differs],
        ["waits", story.chain.join("\n")]];
      for (const [name, text] of lines) if (text) told.append(element("dt", name), element("dd", text));
      const show = element("button", "show");
      show.addEventListener("click", (event) => {
        event.preventDefault();
        choose(whereBroken(story), { closer: true });
      });
      summary.append(show);
      byId("stories").append(box);
    }
  }

  function tools() {
    GROUPS.forEach(([name, text], index) => {
      const chip = element("button", text, "chip");
      chip.style.setProperty("--dot", `var(--${name})`);
      chip.title = GROUPS[index][2].join(", ");
      chip.setAttribute("aria-pressed", String(on[index]));
      chip.addEventListener("click", () => {
        on[index] = !on[index];
        chip.setAttribute("aria-pressed", String(on[index]));
        filter();
      });
      byId("groups").append(chip);
    });
    for (const one of invocations) {
      const option = element("option", invocationName(one[0]));
      option.value = String(one[0]);
      byId("invocation").append(option);
    }
    byId("invocation").addEventListener("change", (event) => restrict(Number(event.target.value)));
    byId("search").addEventListener("input", filter);
    byId("next").addEventListener("click", () => walk(1));
    byId("previous").addEventListener("click", () => walk(-1));
    byId("zoom-in").addEventListener("click", () => zoom(0.6));
    byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
    byId("fit").addEventListener("click", fit);
    byId("to-event").addEventListener("click", ACTS.z);
    byId("compress").addEventListener("change", (event) => {
      const from = toTime(Math.max(0, left)), to = toTime(Math.min(whole(), right));
      compress = event.target.checked;
      bendTime();
      look(toBent(from), toBent(to));
    });
    byId("theme").addEventListener("click", () => {
      const root = document.documentElement;
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      readColors();
      fillList();
      drawSoon();
    });
    for (const [key, text] of KEYS) {
      const line = element("span", ` ${text}`);
      line.prepend(element("kbd", key));
      byId("keys").append(line);
    }
    byId("help").addEventListener("click", () => {
      byId("keys").hidden = !byId("keys").hidden;
      byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
      resize();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); fillList(); drawSoon(); });
  }

  readColors();
  bendTime();
  header();
  tools();
  resize();
  fit();
  filter();
  byId("detail").append(element("div", "Choose an event, here or in the timeline.", "when"));
  fromHash();
  window.addEventListener("hashchange", fromHash);
  new ResizeObserver(resize).observe(byId("timeline"));
})();
