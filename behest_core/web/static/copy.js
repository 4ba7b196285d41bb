// Buttons that copy the page's link, or what is in data-copy.
const said = document.getElementById("said");

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = `${what} copied`;
  } catch {
    said.textContent = "The browser doesn't let this page copy";
  }
  setTimeout(() => (said.textContent = ""), 2000);
}

export function copying(root = document) {
  for (const each of root.querySelectorAll("[data-copy-link], [data-copy]")) {
    each.hidden = false;
    each.addEventListener("click", () =>
      each.dataset.copy === undefined ? copy(location.href, "Link") : copy(each.dataset.copy, "Text"),
    );
  }
}
