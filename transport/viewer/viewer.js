// The page draws nothing itself. It hears of new decisions, and takes the server's new drawing in place of the old one.
"use strict";

const $ = (id) => document.getElementById(id);
const server = new URLSearchParams(location.search).get("server_id");
const least = 400; // milliseconds between two drawings, however many decisions there are
const share = 10; // and so many times what one took: onlookers are not to take the machine from those whom they look at
const idle = 5000; // and without any: what was heard when, and the rates, grow old
const announce = 3000; // between two sentences for whoever hears the page

let paused = false, dirty = true, drawn = Date.now(), wait = 0, drawing = false, stream = null;
let told = 0, news = 0, latest = null;

// draw takes what is live from the page as it is now. The focus, what is scrolled, and what was opened stay where they are.
async function draw() {
  const began = Date.now();
  drawing = true;
  dirty = false;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!paused) for (const old of document.querySelectorAll("[data-live]")) replace(old, page.getElementById(old.id));
  } catch {
    say("the relay does not answer");
  }
  drawn = Date.now();
  wait = share * (drawn - began);
  drawing = false;
}

function replace(old, fresh) {
  if (!fresh || old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const chart = old.querySelector(".chart");
  const at = chart && { left: chart.scrollLeft, top: chart.scrollTop, end: atEnd(chart) };
  const open = old.querySelector("details")?.open;
  old.replaceChildren(...fresh.childNodes);
  if (open) old.querySelector("details").open = true;
  const now = old.querySelector(".chart");
  if (at && !at.end) now?.scrollTo(at.left, at.top);
  else toEnd(now);
  rove(now);
  if (focused) $(focused)?.focus({ preventScroll: true });
}

// toEnd shows the newest decision.
function toEnd(chart) {
  const newest = chart?.querySelector(".mark:last-of-type .hit");
  if (newest) chart.scrollTo(chart.scrollWidth, Math.max(0, +newest.getAttribute("y") + 100 - chart.clientHeight));
}

const atEnd = (chart) => chart.scrollLeft + chart.clientWidth >= chart.scrollWidth - 40;

// rove makes the marks of a drawing one stop of the Tab key; the arrow keys go from one to the next.
function rove(chart) {
  const marks = chart ? [...chart.querySelectorAll(".mark")] : [];
  for (const mark of marks) mark.setAttribute("tabindex", "-1");
  marks.at(-1)?.setAttribute("tabindex", "0");
}

document.addEventListener("keydown", (event) => {
  const mark = document.activeElement?.closest?.(".mark");
  const marks = mark ? [...mark.closest("svg").querySelectorAll(".mark")] : [];
  const i = marks.indexOf(mark);
  const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: marks.length - 1 }[event.key];
  if (!mark || to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const next = marks[Math.min(Math.max(to, 0), marks.length - 1)];
  mark.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
});

function say(state, on = false) {
  if ($("state").textContent !== state) $("state").textContent = state;
  $("pulse").classList.toggle("on", on);
}

// hear is told of each decision. Only the last is read: the drawing has the others.
function hear(event) {
  dirty = true;
  news++;
  latest = event.data;
}

function listen() {
  const after = document.querySelector("[data-after]")?.dataset.after;
  const query = new URLSearchParams();
  if (server) query.set("server_id", server);
  if (after) query.set("after", after);
  stream = new EventSource("/claims/stream?" + query);
  stream.addEventListener("open", () => { dirty = true; say("live", true); });
  stream.addEventListener("decision", hear);
  stream.addEventListener("gap", () => { dirty = true; });
  stream.addEventListener("error", () => {
    say("the relay is away, trying again");
    if (stream.readyState === EventSource.CLOSED) setTimeout(retry, idle); // it was refused for now
  });
}

function retry() {
  if (!paused && !document.hidden && stream.readyState === EventSource.CLOSED) listen();
}

// tell says what has happened to whoever hears the page rather than sees it, and not more often than can be listened to.
function tell() {
  if (!news || Date.now() - told < announce) return;
  const e = JSON.parse(latest);
  const many = news > 1 ? `${news} decisions; the latest: ` : "";
  $("heard").textContent = `${many}#${e.seq} ${e.conn_id || e.server_id}: ${e.decided.replaceAll("_", " ")}, ${e.reason}`;
  told = Date.now();
  news = 0;
}

function beat() {
  if (paused || document.hidden || drawing) return;
  if (news) {
    $("pulse").classList.remove("beat");
    void $("pulse").offsetWidth; // begins the animation anew
    $("pulse").classList.add("beat");
  }
  tell();
  if (Date.now() - drawn >= (dirty ? wait : Math.max(wait, idle))) draw();
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) {
    stream.close();
    say("paused");
  } else {
    dirty = true;
    listen();
  }
});

// A page that nobody sees gives its stream back: a browser opens six connections to a relay, and six tabs would have them all.
document.addEventListener("visibilitychange", () => {
  if (paused || !stream) return;
  stream.close();
  if (document.hidden) return;
  dirty = true;
  listen();
});

const chart = document.querySelector(".chart");
if (!location.hash) toEnd(chart);
rove(chart);
if (!new URLSearchParams(location.search).has("before")) { // the past does not change
  document.querySelector(".live").hidden = false;
  listen();
  setInterval(beat, least);
}
