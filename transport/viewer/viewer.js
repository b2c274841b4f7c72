// The page draws nothing itself. It hears of new decisions, and takes the server's new drawing in place of the old one.
"use strict";

const $ = (id) => document.getElementById(id);
const server = new URLSearchParams(location.search).get("server_id");
const least = 400; // milliseconds between two drawings, however many decisions there are
const idle = 5000; // and without any: what was heard when, and the rates, grow old
const announce = 3000; // between two sentences for whoever hears the page

let paused = false, dirty = true, drawn = Date.now(), drawing = false, stream = null;
let told = 0, news = 0, latest = null;

// draw takes what is live from the page as it is now. The focus, what is scrolled, and what was opened stay where they are.
async function draw() {
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
  if (now && at) {
    now.scrollTop = at.top;
    now.scrollLeft = at.end ? now.scrollWidth : at.left;
  } else if (now) now.scrollLeft = now.scrollWidth;
  rove(now);
  if (focused) $(focused)?.focus({ preventScroll: true });
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
  drawn = Math.min(drawn, Date.now());
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
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => !paused && listen(), idle); // it was refused for now
  });
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
  if (paused || document.hidden) return;
  if (dirty && !drawing) {
    $("pulse").classList.remove("beat");
    void $("pulse").offsetWidth; // begins the animation anew
    if (news) $("pulse").classList.add("beat");
  }
  tell();
  if (!drawing && (dirty || Date.now() - drawn > idle)) draw();
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

$("release")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget, token = $("token").value.trim();
  $("token").value = "";
  $("released").textContent = "asking";
  try {
    const answer = await fetch(`/slots/${encodeURIComponent(form.dataset.server)}/release`, { method: "POST", headers: { Authorization: "Bearer " + token } });
    const text = await answer.text();
    $("released").textContent = answer.ok ? `#${JSON.parse(text).seq}: ${JSON.parse(text).conn_id} is thrown out` : `${answer.status}: ${text}`;
    dirty = true;
  } catch {
    $("released").textContent = "the relay does not answer";
  }
});

const chart = document.querySelector(".chart");
if (chart && !location.hash) chart.scrollLeft = chart.scrollWidth;
rove(chart);
if ($("release")) $("release").hidden = false;
if (!new URLSearchParams(location.search).has("before")) { // the past does not change
  document.querySelector(".live").hidden = false;
  listen();
  setInterval(beat, least);
}
