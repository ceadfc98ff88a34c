"use strict";
// Takes a fresh copy of this page every two seconds and puts its content in place, so that nothing jumps.
const everyMs = 2000;
async function refresh() {
  if (document.hidden) return;
  const foot = document.querySelector("footer");
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!fresh) throw new Error("another page");
    for (const open of document.querySelectorAll("details[open]")) {
      const same = fresh.querySelector("#" + CSS.escape(open.id));
      if (same) same.open = true;
    }
    document.querySelector("main").replaceWith(fresh);
  } catch (problem) {
    if (foot) {
      foot.className = "stale";
      foot.textContent = "No answer: the application may have ended. The history is kept: tony_py history " + document.body.dataset.application;
    }
  }
}
setInterval(refresh, everyMs);
document.addEventListener("visibilitychange", refresh);
