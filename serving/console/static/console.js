// What pages have beside htmx: questions in a dialog, shares that stay a whole, updates that can be paused, and told.
"use strict";

// Tables: in narrow windows each row is a block of names and values; roles stay what they are by themselves elsewhere.
const stack = (table) => {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  table.setAttribute("role", "table");
  table.classList.add("stacked");
  for (const row of table.rows) {
    row.setAttribute("role", "row");
    for (const cell of row.cells) {
      const isHead = row.parentElement === table.tHead;
      cell.setAttribute("role", isHead ? "columnheader" : cell.tagName === "TH" ? "rowheader" : "cell");
      if (!isHead && cell.colSpan === 1) cell.dataset.name = names[cell.cellIndex];
    }
  }
};

const stackAll = () => document.querySelectorAll("main table:not(.stacked)").forEach(stack);
stackAll();

// Questions: a link to one opens it in the dialog; without scripts it is a page.
const asking = document.getElementById("asking");

document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== asking) return;
  asking.showModal();
});

asking.addEventListener("click", (event) => {
  if (!event.target.closest("[data-close]")) return;
  event.preventDefault();
  asking.close();
});

// Updates.
const pause = document.getElementById("pause");
const stale = document.getElementById("stale");
const announcer = document.getElementById("announcer");
const told = () => document.querySelector("[data-announce]")?.textContent.trim() ?? "";
let lastTold = told();

const isUpdate = (event) => event.detail.elt.id === "live";

const showPaused = (isPaused) => {
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Resume updates" : "Pause updates";
};

if (pause && document.getElementById("live")) {
  pause.hidden = false;
  showPaused(sessionStorage.getItem("paused") === "true");
  pause.addEventListener("click", () => {
    const isPaused = pause.getAttribute("aria-pressed") !== "true";
    sessionStorage.setItem("paused", String(isPaused));
    showPaused(isPaused);
    if (!isPaused) htmx.trigger("#live", "refresh");
  });
}

document.body.addEventListener("htmx:beforeRequest", (event) => {
  // Nobody looks, or somebody reads: the tier has other things to do.
  const isPaused = pause?.getAttribute("aria-pressed") === "true" || document.hidden || asking.open;
  if (isUpdate(event) && isPaused) event.preventDefault();
});

document.body.addEventListener("htmx:afterSettle", () => {
  stackAll();
  stale.hidden = true;
  // Only what has changed is told to those who hear the page.
  if (told() === lastTold) return;
  lastTold = told();
  announcer.textContent = lastTold;
});

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(name, () => {
    stale.hidden = false;
  });
}

// Shares: a slider beside each number; when one moves, the others keep their proportions and all stay 100 %.
const WHOLE = 10000; // hundredths of a percent

const shareOut = (amount, weights) => {
  const sum = weights.reduce((one, other) => one + other, 0);
  const parts = weights.map((weight) => (sum ? (amount * weight) / sum : amount / weights.length));
  const whole = parts.map(Math.floor);
  let left = amount - whole.reduce((one, other) => one + other, 0);
  const order = parts.map((part, at) => [part - whole[at], at]).sort((one, other) => other[0] - one[0]);
  for (const [, at] of order) {
    if (left <= 0) break;
    whole[at] += 1;
    left -= 1;
  }
  return whole;
};

const withSliders = (fieldset) => {
  const numbers = [...fieldset.querySelectorAll("input[type=number]")];
  const output = fieldset.querySelector("output");
  const hundredths = (input) => Math.round((Number(input.value) || 0) * 100);

  const sliders = numbers.map((input) => {
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = "0";
    slider.max = "100";
    slider.step = "1";
    slider.setAttribute("aria-label", `${input.labels[0].textContent}, slider`);
    input.before(slider);
    return slider;
  });

  const show = () => {
    const sum = numbers.reduce((total, input) => total + hundredths(input), 0);
    numbers.forEach((input, at) => {
      sliders[at].value = String(hundredths(input) / 100);
    });
    output.textContent = `${(sum / 100).toFixed(2)} %`;
    output.classList.toggle("bad", sum !== WHOLE);
  };

  const set = (at, amount) => {
    const others = numbers.filter((_, other) => other !== at);
    const own = others.length ? Math.min(Math.max(amount, 0), WHOLE) : WHOLE;
    const parts = shareOut(WHOLE - own, others.map(hundredths));
    numbers[at].value = (own / 100).toFixed(2);
    others.forEach((input, other) => {
      input.value = (parts[other] / 100).toFixed(2);
    });
    show();
  };

  sliders.forEach((slider, at) => slider.addEventListener("input", () => set(at, Math.round(Number(slider.value) * 100))));
  numbers.forEach((input, at) => input.addEventListener("change", () => set(at, hundredths(input))));
  show();
};

document.querySelectorAll("[data-shares]").forEach(withSliders);
