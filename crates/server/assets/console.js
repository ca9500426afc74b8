// Shows alerts that nobody has seen yet as a dialog. Every page works without this script.
"use strict";

const POLL_MS = 3000;
const shown = new Set();

function popUp(alert) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "alert-title");
  const title = document.createElement("h2");
  title.id = "alert-title";
  title.textContent = alert.what;
  const text = document.createElement("p");
  text.textContent = alert.mitigation;
  const link = document.createElement("a");
  link.href = "/alerts";
  link.textContent = "Open alerts";
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, text, link, " ", close);
  document.body.append(dialog);
  dialog.showModal();
}

async function poll() {
  try {
    const response = await fetch("/alerts/unseen", { headers: { Accept: "application/json" } });
    if (response.ok) {
      for (const alert of await response.json()) {
        if (!shown.has(alert.id)) {
          shown.add(alert.id);
          popUp(alert);
        }
      }
    }
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

poll();
