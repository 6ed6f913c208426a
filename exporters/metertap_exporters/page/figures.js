// Figures as text. No data is a dash, never 0; nothing is rounded up to "all" or down to "none".

export const NONE = "–";
const NOT_FAILED = { caller_error: "caller", cancelled: "cancelled" };

/** Milliseconds as [number, unit], of three digits. */
export function latency(ms) {
  if (ms === null || ms === undefined) return [NONE, ""];
  if (ms === 0) return ["0", "ms"];
  if (Math.abs(ms) < 0.1) return [digits(ms * 1000), "µs"];
  if (Math.abs(ms) < 1000) return [digits(ms), "ms"];
  if (Math.abs(ms) < 100_000) return [digits(ms / 1000), "s"];
  return [digits(ms / 60_000), "min"];
}

/** A percentile as people are shown it: [milliseconds, mark, why the mark]. None lies beyond the longest call. */
export function percentile(of, key) {
  const ms = of[`${key}_latency_ms`];
  if (of.method === "estimate") return [ms, "≈", "estimated from another instrumentation’s histogram"];
  if (ms === null || !of.extrapolated?.includes(key)) return [ms, "", ""];
  return [Math.min(ms, of.max_latency_ms ?? ms), "≈", "the longest call: there are too few for this percentile"];
}

/** Percent of something. */
export function percent(value) {
  if (value === null || value === undefined) return [NONE, ""];
  if (value === 0 || value === 100) return [String(value), "%"];
  if (value > 99.9) return ["99.9", "%"];
  if (value < 0.1) return ["<0.1", "%"];
  return [value.toFixed(1), "%"];
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return [NONE, ""];
  if (perSecond === 0) return ["0", ""];
  if (perSecond < 0.1) return ["<0.1", ""];
  return [perSecond < 100 ? perSecond.toFixed(1) : count(Math.round(perSecond))[0], ""];
}

/** [type, number, mark] of each error type, most frequent first. The mark tells errors of calls that did not fail. */
export function errors({ error_types: types, error_outcomes: outcomes }) {
  return Object.entries(types).sort((a, b) => b[1] - a[1]).map(([type, number]) => {
    const of = new Map(Object.entries(outcomes ?? {})).get(type) ?? {};
    const apart = Object.entries(NOT_FAILED).filter(([outcome]) => of[outcome]).map(([outcome, word]) => (of[outcome] === number ? word : `${of[outcome]} ${word}`));
    return [type, number, apart.length ? ` (${apart.join(", ")})` : ""];
  });
}

/** A whole number, in groups of three. */
export function count(value) {
  if (value === null || value === undefined) return [NONE, ""];
  return [String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009"), ""];
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  return value < 1e9 ? `${digits(value / 1e6)} MB` : `${digits(value / 1e9)} GB`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function joined([number, unit]) {
  return unit ? `${number} ${unit}` : number;
}

/** The time of day of a Date, to the second. */
export function clock(date) {
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

function digits(value) {
  const size = Math.abs(value);
  if (size < 9.995) return value.toFixed(2);
  return value.toFixed(size < 99.95 ? 1 : 0);
}
