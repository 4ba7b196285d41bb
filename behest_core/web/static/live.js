// Asks for the page again and again, and puts into a table what is new or another. Nothing is sent where nothing changed: the
// server compares the ETag. The place stays: rows above it are only added while the top is in view.
const PAUSE = 2000;
const LONGEST = 30000;

function put(body, fresh) {
  const known = new Map([...body.children].map((row) => [row.dataset.id, row]));
  let before = body.firstElementChild;
  const atTop = scrollY < 200;
  for (const row of [...fresh.children]) {
    const old = known.get(row.dataset.id);
    if (old === undefined) {
      if (!atTop) continue;
      row.classList.add("new");
      body.insertBefore(row, before);
    } else {
      if (old.dataset.revision === row.dataset.revision) {
        for (const [place, time] of [...row.querySelectorAll("time")].entries()) {
          const shown = old.querySelectorAll("time")[place];
          if (shown) shown.textContent = time.textContent;
        }
      } else if (!old.contains(document.activeElement)) {
        row.classList.add("changed");
        old.replaceWith(row);
        before = row.nextElementSibling;
        continue;
      }
      before = old.nextElementSibling;
    }
  }
}

export function follow(part) {
  const live = document.getElementById("live");
  let etag = null;
  let pause = PAUSE;
  live.hidden = false;

  async function look() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
        if (answer.status === 200) {
          etag = answer.headers.get("ETag");
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const body = part.querySelector("tbody");
          const rows = fresh.querySelector("[data-live] tbody");
          if (body && rows) put(body, rows);
        } else if (answer.status !== 304) throw new Error(answer.status);
        pause = PAUSE;
        live.classList.remove("stale");
        live.textContent = "live";
      } catch {
        pause = Math.min(pause * 2, LONGEST);
        live.classList.add("stale");
        live.textContent = "not reached";
      }
    }
    setTimeout(look, pause);
  }
  setTimeout(look, pause);
}
