// What every page has where scripts run: keys, copying, and rows that follow what happens.
import { follow } from "./live.js";
import { copying } from "./copy.js";

const field = () => document.activeElement?.matches("input, select, textarea");

function rows() {
  return [...document.querySelectorAll("#rows > tr a:first-of-type")].filter((each) => each.closest("td")?.cellIndex === 0);
}

function step(by) {
  const all = rows();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const help = document.getElementById("help");
const keys = document.getElementById("keys");
const acts = {
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.getElementById("filter")?.focus(),
  c: () => document.querySelector("[data-copy-link]")?.click(),
  "?": () => keys.showModal(),
};

help.hidden = false;
help.addEventListener("click", () => keys.showModal());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && field()) document.activeElement.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || field() || keys.open || !acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
});

copying();
for (const each of document.querySelectorAll("[data-live]")) if (each.dataset.live) follow(each);
