// What a script adds to the pages of a run: a timeline that zooms, a slider that shows at once, and a run
// that is followed while it goes on. Without it all of that is there by links and by loading the page again.

import { copying } from "./copy.js";

const LOOK_MS = 1500; // a look costs the server one GetItem while nothing has changed
const SLIDE_MS = 120;

for (const each of document.querySelectorAll(".no-script")) each.hidden = true;

function bring(root) {
  for (const each of root.querySelectorAll(".by-script[hidden]")) each.hidden = false;
}

// ------------------------------------------------------------ one part of a page in place of another

async function load(address, headers = {}) {
  const answer = await fetch(address, { headers, cache: "no-store", credentials: "same-origin" });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error(`${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { page, etag: answer.headers.get("ETag") };
}

function replace(page, id) {
  const now = document.getElementById(id);
  const next = page.getElementById(id);
  if (!now || !next) return;
  const isOpen = new Map([...now.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
  for (const each of next.querySelectorAll("details[id]")) {
    if (isOpen.has(each.id)) each.open = isOpen.get(each.id);
  }
  now.replaceWith(next);
  bring(next);
  copying(next);
}

// ------------------------------------------------------------ following

const live = document.getElementById("live");
let etag = null;

async function look() {
  const head = document.getElementById("head");
  live.hidden = head?.dataset.over !== "no";
  if (live.hidden) return;
  if (document.visibilityState === "visible") {
    try {
      const found = await load(location.href, etag ? { "If-None-Match": etag } : {});
      if (found) {
        etag = found.etag;
        for (const id of ["head", "drawn", "said", "events"]) replace(found.page, id);
        zoomable();
      }
      live.classList.remove("stale");
      live.textContent = "live";
    } catch {
      live.classList.add("stale"); // the next look may find the server again
      live.textContent = "not reached";
    }
  }
  setTimeout(look, LOOK_MS);
}

// ------------------------------------------------------------ the slider

function slide() {
  const slider = document.getElementById("at");
  if (!slider) return;
  let waiting = null;
  let latest = 0;
  slider.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const mine = ++latest;
      const address = new URL(location.href);
      address.searchParams.set("at", slider.value);
      const found = await load(address);
      if (mine !== latest || !found) return; // another place was asked for meanwhile
      replace(found.page, "as-of");
      replace(found.page, "copies");
      history.replaceState(null, "", address);
    }, SLIDE_MS);
  });
  slider.form.addEventListener("submit", (event) => event.preventDefault());
}

// ------------------------------------------------------------ the timeline

function zoomable() {
  for (const drawing of document.querySelectorAll(".drawing:not([data-zooms])")) {
    drawing.dataset.zooms = "yes";
    const inner = drawing.querySelector(".inner");
    const svg = drawing.querySelector("svg");
    if (!svg) continue;
    let from = null;
    let chosen = null;

    const place = (event) => (event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width;

    drawing.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && event.pointerType === "mouse") from = event;
    });
    drawing.addEventListener("dragstart", (event) => event.preventDefault());
    drawing.addEventListener("pointermove", (event) => {
      if (!from || Math.abs(event.clientX - from.clientX) < 5) return;
      if (!chosen) {
        chosen = document.createElement("div");
        chosen.className = "chosen";
        drawing.append(chosen);
        drawing.setPointerCapture(event.pointerId);
      }
      const left = drawing.getBoundingClientRect().left - drawing.scrollLeft;
      chosen.style.left = `${Math.min(from.clientX, event.clientX) - left}px`;
      chosen.style.width = `${Math.abs(event.clientX - from.clientX)}px`;
    });
    drawing.addEventListener("pointerup", (event) => {
      if (chosen) {
        const [begin, end] = [place(from), place(event)].sort((one, other) => one - other);
        const width = Math.min(inner.getBoundingClientRect().width / Math.max(end - begin, 0.001), 200000);
        inner.style.width = `${width}px`;
        drawing.scrollLeft = begin * width;
        chosen.remove();
        drawing.addEventListener("click", (click) => click.preventDefault(), { once: true, capture: true });
      }
      from = chosen = null;
    });
    drawing.addEventListener("dblclick", () => { inner.style.width = ""; });
  }
}

bring(document);
slide();
zoomable();
setTimeout(look, LOOK_MS);
