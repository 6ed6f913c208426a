// The three things that stand out: the slowest tool, the one that fails most, the cache with the lowest hit rate.

import { count, duration, joined, latency, percent, percentile } from "./figures.js";
import { say } from "./table.js";

const FEWEST_LOOKUPS = 20; // of fewer, a hit rate says nothing
const MINUTE = 55; // seconds: looks are a second apart or more

export class Answers {
  constructor(openTool, openCache) {
    for (const [id, open] of [["slowest", openTool], ["failing", openTool], ["unhelpful", openCache]]) {
      document.querySelector(`#${id} button`).addEventListener("click", (event) => open(event.target.textContent));
    }
  }

  /** `watched`: the seconds, of the last minute, through which the page has seen the process. */
  update(tools, caches, watched) {
    const called = tools.filter((row) => row.recent && row.recent.ok + row.recent.failed > 0);
    const [slow] = most(called.length ? called : tools, (row) => percentile(row.tool, "p95")[0]);
    answer("slowest", slow, "", slow && `p95 ${told(slow.tool, "p95")}`,
      slow ? `p50 ${told(slow.tool, "p50")}, longest ${joined(latency(slow.tool.max_latency_ms))}` : "no tool has been called twice yet");

    const [failing, share] = most(called, (row) => row.recent.failed / (row.recent.ok + row.recent.failed) || null);
    if (failing) {
      const { ok, failed, seconds } = failing.recent;
      answer("failing", failing, "bad", `${joined(percent(100 * share))} failed`,
        `${failed} of ${ok + failed} in the last ${seconds > MINUTE ? "minute" : duration(Math.max(1, seconds))}`);
    } else {
      const [once] = most(tools, (row) => row.tool.failed_calls / (row.tool.failed_calls + row.tool.successful_calls) || null);
      answer("failing", once, "", once && `${joined(percent(100 - once.tool.success_rate))} failed`,
        once ? `since counting began${watched > MINUTE ? "; none in the last minute" : ""}` : "nothing has failed");
    }

    const asked = caches.filter((row) => row.cache.total_requests >= FEWEST_LOOKUPS);
    const [unhelpful] = most(asked, (row) => 100 - row.cache.hit_rate);
    const others = asked.length < caches.length ? `; caches with fewer than ${FEWEST_LOOKUPS} are left out` : "";
    answer("unhelpful", unhelpful, "", unhelpful && `${joined(percent(unhelpful.cache.hit_rate))} hits`,
      unhelpful ? `of ${joined(count(unhelpful.cache.total_requests))} lookups${others || " since counting began"}` : caches.length ? `none has been asked ${FEWEST_LOOKUPS} times yet` : "no cache has been seen");
  }
}

/** A percentile and the mark of one that no call had. */
function told(tool, key) {
  const [ms, mark] = percentile(tool, key);
  return mark ? `${mark} ${joined(latency(ms))}` : joined(latency(ms));
}

function most(rows, value) {
  let found = [null, null];
  for (const row of rows) {
    const figure = value(row);
    if (figure !== null && (found[1] === null || figure > found[1])) found = [row, figure];
  }
  return found;
}

function answer(id, row, state, figure, because) {
  const article = document.getElementById(id);
  if (article.dataset.state !== state) article.dataset.state = state;
  const button = article.querySelector("button");
  say(button, row?.name ?? "");
  button.hidden = !row;
  say(article.querySelector("strong"), row ? figure : "–");
  say(article.querySelector(".because"), because);
}
